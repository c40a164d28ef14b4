import Contracts
import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// User ids that belong to no person and no service: each program whose code is not trusted runs under one of its own, and has it for as long as it lives.
///
/// Programs of one user can signal each other, look into each other and use the same keys of the kernel, and the system counts their processes together. Those
/// of different users cannot, and are counted one by one.
public struct ProgramUsers: Sendable, Hashable {
    /// The setting `serving.python.users`.
    public enum Choice: Sendable, Hashable {
        /// A range that nothing else uses, where the server is root and no user is named.
        case automatic
        /// The users from this id.
        case from(uid_t)
        case off
    }

    let first: uid_t
    let count: uid_t

    package init(first: uid_t, count: uid_t) {
        self.first = first
        self.count = count
    }

    static let standardCount: uid_t = 65_536

    /// Ids that no distribution gives out, or, in a container without them, those that systemd gives to services for the time they run.
    static let standard = [ProgramUsers(first: 1_900_000_000, count: standardCount), ProgramUsers(first: 61_184, count: 4336)]

    /// The first range that the choice allows and that exists in this user namespace.
    /// - Throws: `failedPrecondition` when that is none of a range that was chosen.
    static func chosen(_ choice: Choice) throws(KeelError) -> ProgramUsers? {
        switch choice {
        case .off: return nil
        case .automatic: return standard.first { $0.isMapped }
        case .from(let first):
            let users = ProgramUsers(first: first, count: standardCount)
            guard users.isMapped else {
                throw KeelError(
                    .failedPrecondition, "the users \(users.description) do not exist here: a container may have fewer",
                    hint: "leave it out, and one of the ranges that exist is taken", path: "serving.python.users")
            }
            return users
        }
    }

    var description: String { "\(first)-\(first + (count - 1))" }

    private var isMapped: Bool { ["uid_map", "gid_map"].allSatisfy { ProgramUsers.covers(ProgramUsers.text(of: "/proc/self/\($0)"), self) } }

    private static func text(of path: String) -> String { FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? "" }

    /// - Parameter map: lines of an id in this namespace, one outside, and a length (user_namespaces(7)).
    package static func covers(_ map: String, _ users: ProgramUsers) -> Bool {
        map.split(separator: "\n").contains { line in
            let numbers = line.split(separator: " ").compactMap { UInt64($0) }
            guard numbers.count == 3 else { return false }
            return numbers[0] <= UInt64(users.first) && UInt64(users.first) + UInt64(users.count) <= numbers[0] + numbers[2]
        }
    }

    /// Takes a user that no process has, of this server or of another one.
    /// - Throws: `unavailable` when none is found.
    package func take() throws(KeelError) -> ProgramUserLease {
        let busy = ProgramUsers.ofProcesses()
        for _ in 0..<256 {
            // Not one after the other: servers in other containers count the same numbers, and files of the last one may be left somewhere.
            let id = first + (uid_t(Identifier.hex32().suffix(8), radix: 16) ?? 0) % count
            if !busy.contains(id), let lease = ProgramUserLease(id) { return lease }
        }
        throw KeelError(.unavailable, "no user of \(description) is free", hint: "name another range with serving.python.users")
    }

    private static func ofProcesses() -> Set<uid_t> {
        var out: Set<uid_t> = []
        guard let folder = opendir("/proc") else { return out }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            var status = stat()
            guard entry.pointee.d_name.0 >= 0x30, entry.pointee.d_name.0 <= 0x39 else { continue }
            let isThere = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { fstatat(dirfd(folder), $0, &status, 0) == 0 }
            }
            if isThere { out.insert(status.st_uid) }
        }
        return out
    }
}

/// One user of a range, which no other server of this machine takes until this is released.
package final class ProgramUserLease: Sendable, Hashable {
    package let user: ProgramUser
    /// A socket in the kernel's own name space, which ends with this process, however that ends.
    private let mark: Descriptor

    /// - Returns: nil when another server has it.
    package init?(_ id: uid_t) {
        user = ProgramUser(id: id)
        let number = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { return nil }
        mark = Descriptor(number)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = [0] + Array("keel-program-user-\(id)".utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.offset(of: \.sun_path).map { $0 + name.count } ?? 0)
        let isMine = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(number, $0, length) == 0 }
        }
        guard isMine else { return nil }
    }

    package static func == (a: ProgramUserLease, b: ProgramUserLease) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

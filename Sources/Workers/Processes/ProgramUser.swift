import Contracts
import Foundation

/// A user of this machine that programs run as.
public struct ProgramUser: Sendable, Hashable {
    public let name: String
    package let uid: uid_t
    let gid: gid_t

    /// One that has no name.
    init(id: uid_t) {
        name = String(id)
        uid = id
        gid = id
    }

    /// - Throws: `notFound` when the machine has no such user.
    public init(named name: String) throws(KeelError) {
        guard let entry = getpwnam(name)?.pointee else {
            throw .notFound("this machine has no user '\(name)'", hint: "useradd --system \(name)")
        }
        self.name = name
        uid = entry.pw_uid
        gid = entry.pw_gid
    }
}

import Foundation
import NIOCore

/// Asks the kernel which user owns a socket of this machine.
///
/// Netlink's `sock_diag` finds one connection by its four numbers without walking a table (sock_diag(7)); it answers within the call. Where the
/// machine has no such interface, `/proc/net/tcp` is read.
package enum SocketOwner {
    /// One end of a TCP connection; an IPv4 address in IPv6 form is an IPv4 address.
    package struct End: Equatable {
        /// 4 or 16 bytes in network order.
        package let address: [UInt8]
        package let port: UInt16

        package init(address: [UInt8], port: UInt16) {
            let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
            self.address = address.count == 16 && address.starts(with: mapped) ? Array(address[12...]) : address
            self.port = port
        }

        package init?(_ socket: SocketAddress?) {
            switch socket {
            case .v4(let address):
                self.init(
                    address: withUnsafeBytes(of: address.address.sin_addr) { Array($0) }, port: UInt16(bigEndian: address.address.sin_port))
            case .v6(let address):
                self.init(
                    address: withUnsafeBytes(of: address.address.sin6_addr) { Array($0) },
                    port: UInt16(bigEndian: address.address.sin6_port))
            default: return nil
            }
        }

        package var isLoopback: Bool { address.count == 4 ? address[0] == 127 : address == [UInt8](repeating: 0, count: 15) + [1] }
    }

    /// An open socket as the kernel knows it.
    package struct Found {
        package let user: uid_t
        package let inode: UInt64
    }

    /// The user whose process holds the socket at `end` of the connection to `other`; nil when there is no such open socket.
    package static func user(at end: End, connectedTo other: End) -> uid_t? { find(end, connectedTo: other)?.user }

    package static func find(_ end: End, connectedTo other: End) -> Found? {
        guard end.address.count == other.address.count else { return nil }
        return hasNetlink ? netlink(end, other) : listed(end, other)
    }

    /// Found by a connection of this process to itself: the kernel says "not found" also when the part that knows is missing.
    package static let hasNetlink: Bool = {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer {
            close(listener)
            close(client)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        func name(_ socket: Int32) -> End? {
            var name = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &size) }
            }
            guard result == 0 else { return nil }
            return End(address: withUnsafeBytes(of: name.sin_addr) { Array($0) }, port: UInt16(bigEndian: name.sin_port))
        }
        func with(_ address: sockaddr_in, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Bool {
            withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
            }
        }
        guard with(address, { bind(listener, $0, $1) }), listen(listener, 1) == 0, let server = name(listener) else { return false }
        address.sin_port = server.port.bigEndian
        guard with(address, { connect(client, $0, $1) }), let own = name(client) else { return false }
        return netlink(own, server) != nil
    }()

    // MARK: sock_diag(7)

    private static let netlinkSockDiag: Int32 = 4
    private static let sockDiagByFamily: UInt16 = 20
    private static let requestBytes = 72
    private static let answerBytes = 88
    /// Established, or half closed by its own end. A socket in another state has no process that could be asked for.
    private static let openStates: Set<UInt8> = [1, 4, 5]

    private static func netlink(_ end: End, _ other: End) -> Found? {
        let handle = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), netlinkSockDiag)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        let request = request(end, other)
        guard send(handle, request, request.count, 0) == request.count else { return nil }
        var answer = [UInt8](repeating: 0, count: 512)
        let count = recv(handle, &answer, answer.count, Int32(MSG_DONTWAIT))
        guard count >= answerBytes else { return nil }
        // struct nlmsghdr (16 bytes), then struct inet_diag_msg.
        func word(_ at: Int) -> UInt32 { answer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt32.self) } }
        guard UInt16(answer[4]) | UInt16(answer[5]) << 8 == sockDiagByFamily else { return nil }
        let state = answer[17]
        let ports = (UInt16(answer[20]) << 8 | UInt16(answer[21]), UInt16(answer[22]) << 8 | UInt16(answer[23]))
        let user = word(80)
        let inode = word(84)
        // A socket that its process has closed belongs to no user any more, and is reported as root's, with inode 0.
        guard openStates.contains(state), inode != 0, ports == (end.port, other.port) else { return nil }
        return Found(user: user, inode: UInt64(inode))
    }

    /// struct nlmsghdr, then struct inet_diag_req_v2 with the cookie for "any".
    private static func request(_ end: End, _ other: End) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(requestBytes)
        func native<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
        native(UInt32(requestBytes))
        native(sockDiagByFamily)
        native(UInt16(1))  // NLM_F_REQUEST
        native(UInt32(1))
        native(UInt32(0))
        bytes += [UInt8(end.address.count == 4 ? AF_INET : AF_INET6), UInt8(IPPROTO_TCP), 0, 0]
        native(UInt32.max)
        native(end.port.bigEndian)
        native(other.port.bigEndian)
        for address in [end.address, other.address] { bytes += address + [UInt8](repeating: 0, count: 16 - address.count) }
        native(UInt32(0))
        native(UInt64.max)
        return bytes
    }

    // MARK: /proc/net/tcp

    private static func listed(_ end: End, _ other: End) -> Found? {
        let wanted = (text(end), text(other))
        for file in end.address.count == 4 ? ["/proc/net/tcp", "/proc/net/tcp6"] : ["/proc/net/tcp6"] {
            guard let data = FileManager.default.contents(atPath: file) else { continue }
            for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
                let fields = line.split(separator: " ")
                guard fields.count > 9, fields[1].hasSuffix(wanted.0), fields[2].hasSuffix(wanted.1) else { continue }
                guard let state = UInt8(fields[3], radix: 16), openStates.contains(state), fields[9] != "0",
                    let user = uid_t(fields[7]), let inode = UInt64(fields[9])
                else { return nil }
                return Found(user: user, inode: inode)
            }
        }
        return nil
    }

    /// As the table writes it: each four bytes of the address as one number of this machine, then the port.
    private static func text(_ end: End) -> String {
        func hex(_ value: some FixedWidthInteger, _ digits: Int) -> String {
            let text = String(value, radix: 16, uppercase: true)
            return String(repeating: "0", count: digits - text.count) + text
        }
        let words = stride(from: 0, to: end.address.count, by: 4).map { i in
            hex(end.address[i..<i + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }, 8)
        }
        return words.joined() + ":" + hex(end.port, 4)
    }
}

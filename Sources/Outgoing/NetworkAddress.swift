import Contracts
import Foundation

/// An IP address, and whether it may be reached on somebody's behalf.
package struct NetworkAddress: Hashable, CustomStringConvertible {
    /// 4 or 16 bytes.
    let bytes: [UInt8]
    package let description: String

    /// A literal in its canonical notation only: `127.1`, `0177.0.0.1` and `2130706433` are none.
    package init?(literal text: String) {
        var (v4, v6) = (in_addr(), in6_addr())
        if inet_pton(AF_INET, text, &v4) == 1 {
            self.init(bytes: withUnsafeBytes(of: &v4) { Array($0) })
        } else if inet_pton(AF_INET6, text, &v6) == 1 {
            self.init(bytes: withUnsafeBytes(of: &v6) { Array($0) })
        } else {
            return nil
        }
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count))
        description = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Every address of a host, as the system resolves it; it blocks.
    /// - Throws: `unavailable`: also a name that does not exist may be one that cannot be asked for now.
    @Sendable package static func resolve(_ host: String) throws(KeelError) -> [NetworkAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        guard result == 0 else {
            throw KeelError(.unavailable, "cannot resolve '\(host.prefix(255))': \(String(cString: gai_strerror(result)))")
        }
        defer { freeaddrinfo(list) }
        var out: [NetworkAddress] = []
        var next = list
        while let entry = next {
            if let address = NetworkAddress(entry.pointee), !out.contains(address) { out.append(address) }
            next = entry.pointee.ai_next
        }
        return out
    }

    private init?(_ info: addrinfo) {
        guard let address = info.ai_addr else { return nil }
        switch info.ai_family {
        case AF_INET:
            var v4 = UnsafeRawPointer(address).loadUnaligned(as: sockaddr_in.self).sin_addr
            self.init(bytes: withUnsafeBytes(of: &v4) { Array($0) })
        case AF_INET6:
            var v6 = UnsafeRawPointer(address).loadUnaligned(as: sockaddr_in6.self).sin6_addr
            self.init(bytes: withUnsafeBytes(of: &v6) { Array($0) })
        default: return nil
        }
    }

    /// Whether it is of the public internet: not this machine, not its networks, not a range with a special meaning (RFC 6890 and its registries).
    /// An IPv6 address that carries an IPv4 address is judged by that one.
    package var isPublic: Bool {
        if bytes.count == 4 { return NetworkAddress.isPublic(v4: bytes) }
        if let inner = embedded { return NetworkAddress.isPublic(v4: inner) }
        // Only 2000::/3 is given out; of that, protocol assignments (with Teredo and ORCHID), documentation and segment routing are not.
        guard bytes[0] & 0xe0 == 0x20 else { return false }
        let head = Array(bytes.prefix(4))
        if head[0] == 0x20, head[1] == 0x01, head[2] < 0x02 { return false }
        if head == [0x20, 0x01, 0x0d, 0xb8] { return false }
        return !(head[0] == 0x3f && head[1] == 0xff && head[2] & 0xf0 == 0)
    }

    /// The IPv4 address inside: mapped, 6to4, NAT64.
    private var embedded: [UInt8]? {
        if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff { return Array(bytes[12...]) }
        if bytes[0] == 0x20, bytes[1] == 0x02 { return Array(bytes[2..<6]) }
        if Array(bytes.prefix(4)) == [0x00, 0x64, 0xff, 0x9b], bytes[4..<12].allSatisfy({ $0 == 0 }) { return Array(bytes[12...]) }
        return nil
    }

    private static func isPublic(v4 b: [UInt8]) -> Bool {
        switch (b[0], b[1], b[2]) {
        case (0, _, _), (10, _, _), (127, _, _), (224..., _, _): false
        case (100, 64...127, _), (169, 254, _), (172, 16...31, _), (192, 168, _), (198, 18...19, _): false
        case (192, 0, 0), (192, 0, 2), (192, 88, 99), (198, 51, 100), (203, 0, 113): false
        default: true
        }
    }
}

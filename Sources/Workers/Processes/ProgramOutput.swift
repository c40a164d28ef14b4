import Contracts
import Synchronization

/// The lines of a program's output, as they come.
package final class Lines: Sendable {
    private let splitter: Mutex<LineSplitter>
    private let sink: @Sendable (String) -> Void

    package init(masking mask: SecretMask, to sink: @escaping @Sendable (String) -> Void) {
        splitter = Mutex(LineSplitter(masking: mask))
        self.sink = sink
    }

    package func add(_ bytes: ArraySlice<UInt8>) { splitter.withLock { $0.add(bytes, sink) } }
    package func finish() { splitter.withLock { $0.finish(sink) } }
}

/// Cuts a stream of bytes into lines of at most `lineBytesMax`, with the secrets in them masked.
package struct LineSplitter {
    package static let lineBytesMax = 16_384
    private let mask: SecretMask
    private var rest: [UInt8] = []

    package init(masking mask: SecretMask) { self.mask = mask }

    package mutating func add(_ bytes: ArraySlice<UInt8>, _ line: (String) -> Void) {
        for byte in bytes {
            guard byte == 10 else {
                rest.append(byte)
                if rest.count >= LineSplitter.lineBytesMax + mask.longest { cut(line) }
                continue
            }
            line(String(decoding: mask.applied(to: rest), as: UTF8.self))
            rest.removeAll(keepingCapacity: true)
        }
    }

    /// A secret may begin at the end of what is there: as much as it can be is kept for the next part.
    private mutating func cut(_ line: (String) -> Void) {
        let masked = mask.applied(to: rest)
        let end = max(1, masked.count - mask.longest)
        line(String(decoding: masked[..<end], as: UTF8.self))
        rest = Array(masked[end...])
    }

    package mutating func finish(_ line: (String) -> Void) {
        if !rest.isEmpty { line(String(decoding: mask.applied(to: rest), as: UTF8.self)) }
        rest = []
    }
}

/// Texts that must not be in a log.
package struct SecretMask: Sendable {
    static let shortest = 8
    static let replacement = Array("[secret]".utf8)
    /// The longest first.
    private let secrets: [[UInt8]]
    private let beginnings: Set<UInt8>

    /// - Parameter secrets: one of several lines counts line by line; what is shorter than `shortest` is too common to be masked.
    package init(_ secrets: [String]) {
        let parts = secrets.flatMap { $0.split(whereSeparator: \.isNewline).map { Array($0.utf8) } }
        self.secrets = Set(parts).filter { $0.count >= SecretMask.shortest }.sorted { $0.count > $1.count }
        beginnings = Set(self.secrets.compactMap(\.first))
    }

    /// The bytes of the longest one.
    var longest: Int { secrets.first?.count ?? 0 }

    func applied(to bytes: [UInt8]) -> [UInt8] {
        guard secrets.contains(where: { $0.count <= bytes.count }) else { return bytes }
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var at = 0
        while at < bytes.count {
            if beginnings.contains(bytes[at]), let found = secrets.first(where: { bytes[at...].starts(with: $0) }) {
                out += SecretMask.replacement
                at += found.count
            } else {
                out.append(bytes[at])
                at += 1
            }
        }
        return out
    }

    /// Whether a variable or parameter of this name holds a secret, as people name them.
    package static func isSecret(_ name: String) -> Bool {
        let upper = name.uppercased()
        return ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY"].contains {
            upper.contains($0)
        }
    }
}

import Foundation

/// Memory that the process which runs a parser shares with the one that watches it: what it works on survives its end.
struct SharedInput {
    /// The longest input.
    static let inputBytesMax = 1 << 20
    private static let inputAt = 8192
    private static let messageAt = 1024
    private static let messageBytesMax = inputAt - messageAt
    private static let size = inputAt + inputBytesMax

    /// Numbers that the child keeps.
    enum Count: Int {
        case runs, accepted, kept, slowest, edges
        case isRunning, inputBytes, messageBytes
    }

    private let base: UnsafeMutableRawPointer

    /// - Parameter path: of the file that both processes map; it is made when it is not there.
    init(path: String) throws {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0, ftruncate(descriptor, off_t(SharedInput.size)) == 0 else { throw FuzzFault("cannot make the file \(path)") }
        defer { close(descriptor) }
        guard let mapped = mmap(nil, SharedInput.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), mapped != MAP_FAILED else {
            throw FuzzFault("cannot map the file \(path)")
        }
        base = mapped
    }

    func unmap() { munmap(base, SharedInput.size) }

    subscript(count: Count) -> Int {
        get { base.load(fromByteOffset: 8 * count.rawValue, as: Int.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 8 * count.rawValue, as: Int.self) }
    }

    var input: [UInt8] {
        get { Array(UnsafeRawBufferPointer(start: base + SharedInput.inputAt, count: min(self[.inputBytes], SharedInput.inputBytesMax))) }
        nonmutating set {
            newValue.withUnsafeBytes {
                (base + SharedInput.inputAt).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count)
            }
            self[.inputBytes] = newValue.count
        }
    }

    /// What a parser did wrong, in words.
    var message: String {
        get {
            let bytes = UnsafeRawBufferPointer(
                start: base + SharedInput.messageAt, count: min(self[.messageBytes], SharedInput.messageBytesMax))
            return String(decoding: bytes, as: UTF8.self)
        }
        nonmutating set {
            let bytes = Array(newValue.utf8.prefix(SharedInput.messageBytesMax))
            bytes.withUnsafeBytes {
                (base + SharedInput.messageAt).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count)
            }
            self[.messageBytes] = bytes.count
        }
    }
}

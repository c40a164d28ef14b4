import Contracts
import Foundation

/// A stored file, open for reading.
public final class ObjectReader: Sendable {
    public let bytes: Int64
    private let descriptor: Int32
    let name: String

    /// - Parameters:
    ///   - name: what errors call it.
    ///   - followsLinks: whether the path may be a symbolic link to a file; for files that a person names.
    package init(path: String, name: String, followsLinks: Bool = false) throws {
        self.name = name
        descriptor = try StoredFile.open(path, name: name, followsLinks: followsLinks)
        var status = stat()
        bytes = fstat(descriptor, &status) == 0 ? Int64(status.st_size) : 0
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit { close(descriptor) }

    func status() throws -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw AtomicFile.failure("read \(name)") }
        return status
    }

    /// The digest of the whole content; it blocks.
    package func digest() throws -> Digest {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { block.deallocate() }
        var hasher = Digest.Hasher()
        var offset: Int64 = 0
        while true {
            let count = try read(at: offset, into: block)
            guard count > 0 else { return hasher.finish() }
            hasher.update(UnsafeRawBufferPointer(rebasing: block[..<count]))
            offset += Int64(count)
        }
    }

    /// Reads up to a buffer's length; it blocks, so call it inside `Blocking.run`.
    /// - Returns: how many bytes were read; 0 only at the end.
    public func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 { return count }
            guard errno == EINTR else { throw AtomicFile.failure("read \(name)") }
        }
    }
}

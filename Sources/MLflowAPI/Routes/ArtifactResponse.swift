import Contracts
import HTTPTypes
import Hummingbird
import NIOCore
import Storage
import Tracking
import WebAPI

/// An artifact on its way to a client: its bytes pass through a block at a time, as fast as the client takes them.
enum ArtifactResponse {
    private static let blockBytes: Int64 = 128 << 10

    /// - Parameter memory: given back when the whole body is written.
    static func make(_ content: ArtifactContent, for request: Request, holding memory: MemoryReservation?) -> Response {
        let etag = "\"\(content.digest.hex)\""
        var headers: HTTPFields = [
            .contentType: ArtifactWire.contentType(content.name), .contentDisposition: ArtifactWire.disposition(content.name), .eTag: etag,
            .acceptRanges: "bytes", .xContentTypeOptions: "nosniff",
        ]
        if let known = request.headers[.ifNoneMatch], known == "*" || known.split(separator: ",").contains(where: { $0.trimmed == etag }) {
            return Response(status: .notModified, headers: headers)
        }
        let condition = request.headers[.ifRange]
        switch condition == nil || condition == etag ? ArtifactWire.extent(request.headers[.range], of: content.bytes) : .whole {
        case .whole: return Response(status: .ok, headers: headers, body: body(content.reader, 0..<content.bytes, memory))
        case .part(let range):
            headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(content.bytes)"
            return Response(status: .partialContent, headers: headers, body: body(content.reader, range, memory))
        case .unsatisfiable:
            let error = KeelError.invalid("the range lies outside of the \(content.bytes) bytes of '\(content.name)'")
            var response = MLflowRoutes.failure(error, status: .rangeNotSatisfiable)
            response.headers[.contentRange] = "bytes */\(content.bytes)"
            return response
        }
    }

    private static func body(_ reader: ObjectReader, _ range: Range<Int64>, _ memory: MemoryReservation?) -> ResponseBody {
        ResponseBody(contentLength: range.count) { writer in
            defer { withExtendedLifetime(memory) {} }
            var offset = range.lowerBound
            while offset < range.upperBound {
                let block = try await read(reader, at: offset, count: Int(min(blockBytes, range.upperBound - offset)))
                offset += Int64(block.readableBytes)
                try await writer.write(block)
                try await HTTPConnection.current?.writable()
            }
            try await writer.finish(nil)
        }
    }

    private static func read(_ reader: ObjectReader, at offset: Int64, count: Int) async throws -> ByteBuffer {
        try await Blocking.run {
            var block = ByteBufferAllocator().buffer(capacity: count)
            try block.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { memory in
                try reader.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: memory[..<count]))
            }
            guard block.readableBytes > 0 else { throw KeelError(.corrupted, "the content ends before its time") }
            return block
        }
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}

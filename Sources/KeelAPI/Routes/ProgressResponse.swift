import Contracts
import Hummingbird

extension Response {
    /// Lines of JSON: how far `work` is, then what it returns, or the error that ended it. The status is on its way before the work is done.
    static func progress(
        _ work: @escaping @Sendable (_ report: @escaping @Sendable (_ share: Double, _ text: String) -> Void) async throws -> JSON
    ) -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/x-ndjson"],
            body: ResponseBody { writer in
                let (lines, source) = AsyncStream<JSON>.makeStream(bufferingPolicy: .bufferingNewest(64))
                let task = Task {
                    defer { source.finish() }
                    return try await work { share, text in source.yield(["progress": .double(share), "stage": .string(text)]) }
                }
                for await line in lines { try await writer.write(ByteBuffer(bytes: line.bytes + [10])) }
                do {
                    try await writer.write(ByteBuffer(bytes: try await task.value.bytes + [10]))
                } catch {
                    try await writer.write(ByteBuffer(bytes: ErrorBody.json(.shown(error)).bytes + [10]))
                }
                try await writer.finish(nil)
            })
    }
}

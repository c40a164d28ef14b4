import Contracts
import Hummingbird
import NIOCore
import NIOHTTP1

/// Gives each request a reservation of its own, which lasts as long as its handler works on it.
public struct RequestMemoryMiddleware: RouterMiddleware {
    public init() {}

    public func handle(
        _ request: Request, context: KeelContext, next: (Request, KeelContext) async throws -> Response
    ) async throws -> Response {
        guard let connection = HTTPConnection.current else { return try await next(request, context) }
        return try await MemoryReservation.$current.withValue(MemoryReservation(of: connection.memory)) {
            try await next(request, context)
        }
    }
}

extension MemoryReservation {
    /// What a body takes for each of its bytes while it is worked on: a number of one digit and its comma become a value of 24 bytes.
    public static let bytesPerBodyByte = 16
    /// What a body that passes through to the disk takes.
    public static let uploadBytes = 512 << 10
    /// What a file on its way to a client takes.
    public static let downloadBytes = 512 << 10
    /// What the rows of a file take while it is ingested.
    public static let ingestBytes = 16 << 20

    /// Takes memory for the current request.
    /// - Returns: what must be kept as long as the memory is used, when that is longer than the handler runs; nil outside of a server.
    @discardableResult
    public static func take(_ count: Int, for part: MemoryBudget.Part) throws(KeelError) -> MemoryReservation? {
        try current?.take(count, for: part)
        return current
    }
}

extension Request {
    /// The whole body, for which memory is taken as it comes.
    /// - Throws: `payloadTooLarge` beyond `bytesMax`, `unavailable` when other requests hold too much.
    public func collected(upTo bytesMax: Int, hint: String? = nil) async throws -> ByteBuffer {
        let tooLarge = KeelError(.payloadTooLarge, "the body is larger than \(bytesMax) bytes", hint: hint)
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > bytesMax { throw tooLarge }
        var whole = ByteBuffer()
        do {
            for try await part in body {
                guard whole.readableBytes + part.readableBytes <= bytesMax else { throw tooLarge }
                try MemoryReservation.take(part.readableBytes * MemoryReservation.bytesPerBodyByte, for: .requests)
                whole.writeImmutableBuffer(part)
            }
        } catch is HTTPParserError { throw KeelError.invalid("the body is not what its head announced") }
        return whole
    }
}

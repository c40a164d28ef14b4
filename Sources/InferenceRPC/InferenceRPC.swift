import NIOCore
import NIOHTTP2
import Serving
import WebAPI

/// The handlers of a connection that speaks HTTP/2: the Open Inference Protocol over gRPC, `inference.GRPCInferenceService`.
/// - Parameters:
///   - version: Keel's.
///   - watch: is told what is expected of the client.
public func inferenceRPCHandlers(
    runtime: ServingRuntime, gate: RequestGate, version: String, connection: HTTPConnection, watch: ConnectionWatch
) -> [any ChannelHandler] {
    var configuration = NIOHTTP2Handler.ConnectionConfiguration()
    configuration.initialSettings = [
        HTTP2Setting(parameter: .maxConcurrentStreams, value: RPCHandler.callsMax),
        HTTP2Setting(parameter: .initialWindowSize, value: RPCHandler.windowBytes),
        HTTP2Setting(parameter: .maxHeaderListSize, value: 32 << 10),
    ]
    // Clients ask by pings how far away the server is, while much is sent.
    configuration.controlFrameRateLimit.maximumCount = 1000
    var streams = NIOHTTP2Handler.StreamConfiguration()
    // A client that gives up many calls at their deadlines resets them.
    streams.streamResetFrameRateLimit.maximumCount = 2000
    let service = InferenceService(runtime: runtime, gate: gate, version: version)
    return [
        NIOHTTP2Handler(mode: .server, connectionConfiguration: configuration, streamConfiguration: streams),
        RPCHandler(service: service, connection: connection, watch: watch),
    ]
}

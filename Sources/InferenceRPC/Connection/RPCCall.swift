import Contracts
import NIOCore
import NIOHTTP2

/// One call on a connection: a stream of HTTP/2. It belongs to the connection's event loop.
final class RPCCall {
    let stream: HTTP2StreamID
    let head: RPCHead
    let messageBytesMax: Int
    let began = NIODeadline.now()
    var assembler = MessageAssembler()
    /// What is taken for the message that comes now.
    var memory: MemoryReservation
    /// The client has sent its last message.
    var hasEnded = false
    /// A message is worked on.
    var isAnswering = false
    /// Messages that were begun.
    var messages = 0
    var hasSentHead = false
    /// What came of the body since the server began to wait for more of it.
    var receivedBytes = 0
    var waitsSince = NIODeadline.now()
    /// What came and was not yet told to the client as taken.
    var unacknowledgedBytes = 0

    init(_ stream: HTTP2StreamID, _ head: RPCHead, messageBytesMax: Int, memory: MemoryReservation) {
        self.stream = stream
        self.head = head
        self.messageBytesMax = messageBytesMax
        self.memory = memory
    }

    /// What is left of the time that the client gives; nil without a limit.
    var timeout: Duration? { head.deadline.map { .nanoseconds(($0 - .now()).nanoseconds) } }
}

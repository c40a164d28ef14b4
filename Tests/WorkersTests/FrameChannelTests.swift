import Contracts
import Foundation
import Testing
import Workers

@Suite("Messages over a socket")
struct FrameChannelTests {
    private func pair() throws -> (near: FrameChannel, far: FrameChannel) {
        let (near, far) = try Descriptor.socketPair()
        return (try FrameChannel(near), try FrameChannel(far))
    }

    @Test("a message of many megabytes arrives whole while the other side reads")
    func large() async throws {
        let (near, far) = try pair()
        let body = (0..<(5 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        async let sent: Void = Blocking.runAlone { try near.send(["op": "x"], body: body, until: soon()) }
        let message = try await Blocking.runAlone { try far.receive(bodyBytesMax: 5 << 20, until: soon()) }
        try await sent
        #expect(message.header == ["op": "x"] && message.body == body)
    }

    @Test("a side that says nothing, or takes nothing, is late")
    func late() throws {
        let (near, far) = try pair()
        #expect(throws: FrameChannel.Fault.late) { try near.receive(bodyBytesMax: 1, until: soon(0.05)) }
        #expect(throws: FrameChannel.Fault.late) { try near.send(.null, body: [UInt8](repeating: 0, count: 50 << 20), until: soon(0.05)) }
        withExtendedLifetime(far) {}
    }

    @Test("a side that is gone closes the channel")
    func gone() throws {
        let (near, far) = try pair()
        #expect(!near.isBroken)
        far.close()
        #expect(near.isBroken)
        #expect(throws: FrameChannel.Fault.closed) { try near.receive(bodyBytesMax: 1, until: soon()) }
        #expect(throws: FrameChannel.Fault.closed) { try near.send(.null, until: soon()) }
    }

    @Test("what is no message is refused before its length is believed")
    func rubbish() throws {
        func answer(_ bytes: [UInt8]) throws -> FrameChannel.Fault? {
            let (near, far) = try Descriptor.socketPair()
            _ = try bytes.withUnsafeBytes { Foundation.send(try far.number(), $0.baseAddress, $0.count, 0) }
            far.close()
            let channel = try FrameChannel(near)
            do throws(FrameChannel.Fault) {
                _ = try channel.receive(bodyBytesMax: 1000, until: soon())
                return nil
            } catch { return error }
        }
        let magic = Array("KLW1".utf8)
        #expect(try answer(Array("HTTP/1.1 200 OK\r\n".utf8)) == .rubbish("it does not begin as a message does"))
        #expect(
            try answer(magic + [255, 255, 255, 255] + [UInt8](repeating: 0, count: 8))
                == .rubbish("its header is said to have 4294967295 bytes"))
        guard case .rubbish = try answer(magic + [2, 0, 0, 0] + [UInt8](repeating: 255, count: 8)) else {
            Issue.record("a body of 2^64 bytes was believed")
            return
        }
        #expect(try answer(magic + [2, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + Array("{]".utf8)) == .rubbish("its header is no JSON"))
        #expect(try answer(magic + [9, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + Array("{}".utf8)) == .closed)
        #expect(try answer(magic + [2, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + Array("{}".utf8)) == nil)
    }
}

import Contracts
import InferenceRPC
import NIOCore
import TestSupport
import Testing

@Suite("gRPC over HTTP/2")
struct ProtocolTests {
    @Test("messages are put together from pieces cut anywhere")
    func assembler() throws {
        var random = Seeded(7)
        let messages = (0..<50).map { _ in
            (0..<Int.random(in: 0...300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        var stream: [UInt8] = []
        for message in messages { stream += [0] + withUnsafeBytes(of: UInt32(message.count).bigEndian) { Array($0) } + message }
        var assembler = MessageAssembler()
        var read: [[UInt8]] = []
        while !stream.isEmpty {
            let count = min(stream.count, Int.random(in: 1...90, using: &random))
            var piece = ByteBuffer(bytes: stream.prefix(count))
            stream.removeFirst(count)
            assembler.append(&piece)
            while let message = try assembler.next(bytesMax: 300) { read.append(Array(buffer: message.bytes)) }
        }
        #expect(read == messages)
        #expect(assembler.heldBytes == 0)
    }

    @Test("a message is refused when its head is there: too long, or with a flag that gRPC does not have")
    func refused() {
        func next(_ bytes: [UInt8]) throws -> Bool {
            var assembler = MessageAssembler()
            var buffer = ByteBuffer(bytes: bytes)
            assembler.append(&buffer)
            return try assembler.next(bytesMax: 100) != nil
        }
        #expect { try next([0, 0, 0, 0, 101]) } throws: { ($0 as? KeelError)?.code == .payloadTooLarge }
        #expect { try next([2]) } throws: { ($0 as? KeelError)?.code == .invalidArgument }
        #expect(try! next([0, 0, 0, 0, 100]) == false)
        #expect(try! next([0, 0, 0, 0, 0]))
    }

    @Test("a timeout has up to eight digits and a unit")
    func timeouts() {
        #expect(Duration(timeout: "250m") == .milliseconds(250))
        #expect(Duration(timeout: "99999999H") == .seconds(99_999_999 * 3600))
        #expect(Duration(timeout: "1n") == .nanoseconds(1))
        for text in ["", "1", "m", "-1S", "100000000S", "1.5S", "1s", " 1S", "１S"] { #expect(Duration(timeout: text) == nil, "\(text)") }
    }

    @Test("a message of a status is printable ASCII")
    func status() {
        let status = GRPCStatus(KeelError(.notFound, "no 'grün' 100%\n", path: "x"))
        #expect(status.code == .notFound)
        #expect(status.encodedMessage == "x: no 'gr%C3%BCn' 100%25%0A")
    }

    @Test("every error of Keel's has a status that is no success")
    func codes() {
        for code in KeelError.Code.allCases { #expect(GRPCStatus.Code(code) != .ok) }
    }

    @Test("numbers of every size come back")
    func varints() throws {
        var random = Seeded(3)
        let numbers =
            [0, 1, 127, 128, UInt64.max]
            + (0..<200).map { _ in UInt64.random(in: 0...UInt64.max >> UInt64.random(in: 0...63, using: &random), using: &random) }
        var writer = ProtobufWriter()
        writer.varints(1, numbers)
        var read: [UInt64] = []
        try writer.bytes.withUnsafeBytes { raw in
            try ProtobufReader.fields(of: raw) { (field) throws(KeelError) in
                try ProtobufReader.varints(in: try field.bytes()) { read.append($0) }
            }
        }
        #expect(read == numbers)
    }

    @Test(
        "what is no protobuf is refused",
        arguments: [[8], [8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], [0, 0], [11], [10, 5, 1], [9, 1], [13, 1, 2]])
    func broken(bytes: [UInt8]) {
        #expect(throws: KeelError.self) {
            try bytes.withUnsafeBytes { try ProtobufReader.fields(of: $0) { _ in } }
        }
    }
}

import Testing
import WebAPI

@Suite("ProtocolDetector")
struct ProtocolDetectorTests {
    @Test("the whole preface is HTTP/2; anything that is not its beginning is HTTP/1")
    func versions() {
        let preface = ProtocolDetector.preface
        #expect(preface.count == 24)
        for length in 0..<24 { #expect(ProtocolDetector.version(of: preface.prefix(length)) == nil) }
        #expect(ProtocolDetector.version(of: preface) == .http2)
        #expect(ProtocolDetector.version(of: preface + [0, 0, 18]) == .http2)
        for text in ["GET / HTTP/1.1", "PUT", "PRI * HTTP/1.1\r\n"] { #expect(ProtocolDetector.version(of: Array(text.utf8)) == .http1) }
        #expect(ProtocolDetector.version(of: [0x16, 3, 1]) == .http1)
    }
}

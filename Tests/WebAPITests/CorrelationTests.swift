import HTTPTypes
import Testing
import WebAPI

@Suite("Request ids and traces")
struct CorrelationTests {
    private func correlation(_ fields: [String: String]) -> Correlation {
        var all = HTTPFields()
        for (name, value) in fields { if let name = HTTPField.Name(name) { all[name] = value } }
        return Correlation(all)
    }

    @Test("a request's id and trace come back as they came")
    func echoed() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        var answer = HTTPFields()
        correlation(["x-request-id": "abc-1", "traceparent": trace]).write(to: &answer)
        #expect(answer.map { "\($0.name.canonicalName): \($0.value)" } == ["x-request-id: abc-1", "traceparent: \(trace)"])
    }

    @Test("an id that is no id is ignored", arguments: ["", "two words", "é", String(repeating: "x", count: 129)])
    func badID(id: String) { #expect(correlation(["X-Request-Id": id]).requestID == nil) }

    @Test(
        "a traceparent that breaks the standard is ignored",
        arguments: [
            "", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ])
    func badTrace(text: String) { #expect(correlation(["traceparent": text]).traceparent == nil, "\(text)") }

    @Test("a later version of traceparent may have more behind it")
    func laterVersion() {
        let trace = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"
        #expect(correlation(["traceparent": trace]).traceparent == trace)
    }
}

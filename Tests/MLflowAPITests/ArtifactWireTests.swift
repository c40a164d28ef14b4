import Contracts
import MLflowAPI
import Testing

@Suite("Artifacts over MLflow's protocol")
struct ArtifactWireTests {
    @Test(
        "no encoding of a path leads out of the root",
        arguments: [
            "../x", "a/../../x", "%2e%2e/x", "a/%2E%2e/b", "%252e%252e/x", "a/%252e%252e%252fb", "..%2fx", "%2fetc/passwd", "/etc/passwd",
            "%2Fetc",
            "C:/windows", "c%3A%5Cwindows", "a/..", "..", "a#b", "a%23b", "a%00b", "%2500",
        ])
    func hostile(path: String) {
        #expect(throws: KeelError.self) { try ArtifactWire.path(path) }
    }

    @Test(
        "names with spaces, percent signs, plus signs and other scripts are what they are",
        arguments: [
            ("a b.txt", "a b.txt"), ("100%.txt", "100%.txt"), ("a%20b", "a b"), ("x+y", "x+y"), ("ü/日本/😀", "ü/日本/😀"),
            ("..a/b..", "..a/b.."), ("a%0Ab", "a%0ab"),
        ])
    func names(path: String, expected: String) throws {
        // What MLflow lists is asked for again: a path in its final form is its own.
        if expected != "a%0ab" { #expect(try ArtifactWire.path(ArtifactWire.path(path)) == expected) }
        #expect(try ArtifactWire.path(path) == expected)
    }

    @Test(
        "file names in headers",
        arguments: [
            ("model.pkl", "attachment; filename=model.pkl"), ("a b.txt", "attachment; filename=\"a b.txt\""),
            ("a\"b", "attachment; filename=\"a\\\"b\""),
            ("süß.txt", "attachment; filename=su.txt; filename*=UTF-8''s%C3%BC%C3%9F.txt"),
            ("日本", "attachment; filename=download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ])
    func disposition(name: String, expected: String) {
        #expect(ArtifactWire.disposition(name) == expected)
    }

    @Test(
        "content types as MLflow guesses them",
        arguments: [
            ("MLmodel", "text/plain"), ("conda.yaml", "text/plain"), ("data.json", "text/plain"), ("plot.png", "image/png"),
            ("page.HTML", "text/html"),
            ("model.pkl", "application/octet-stream"), ("noextension", "application/octet-stream"), ("a.tar.gz", "application/x-tar"),
            ("a.tgz", "application/x-tar"),
            ("a.gz", "application/octet-stream"), (".json", "application/octet-stream"),
        ])
    func types(name: String, expected: String) {
        #expect(ArtifactWire.contentType(name) == expected)
    }

    @Test("ranges")
    func ranges() {
        let cases: [(String?, ArtifactWire.Extent)] = [
            (nil, .whole), ("bytes=0-", .part(0..<10)), ("bytes=2-4", .part(2..<5)), ("bytes=9-9", .part(9..<10)),
            ("bytes=5-99", .part(5..<10)),
            ("bytes=-3", .part(7..<10)), ("bytes=-99", .part(0..<10)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable),
            ("bytes=99999999999999999999-", .unsatisfiable), ("bytes=4-2", .whole), ("bytes=0-1,3-4", .whole), ("bytes=a-b", .whole),
            ("items=0-1", .whole),
            ("bytes=-", .whole), ("bytes=", .whole),
        ]
        for (header, expected) in cases { #expect(ArtifactWire.extent(header, of: 10) == expected, "\(header ?? "none")") }
        #expect(ArtifactWire.extent("bytes=0-", of: 0) == .unsatisfiable)
    }
}

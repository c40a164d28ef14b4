import Contracts
import Foundation
import Testing
import Workflows
import keel

@Suite("The committed reference")
struct ReferencePageTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("docs/reference").path

    @Test("is what the code says", arguments: ReferencePages.all.map(\.name))
    func committed(name: String) throws {
        let made = try #require(ReferencePages.all.first { $0.name == name }).text
        let committed = try? String(contentsOfFile: "\(Self.folder)/\(name)", encoding: .utf8)
        #expect(committed == made, "docs/reference/\(name) is not what the code says: run 'keel docs' and commit what it writes")
    }

    @Test("every kind has a JSON Schema that says what it is")
    func schemas() throws {
        for kind in Reference.kinds {
            let schema = kind.jsonSchema
            #expect(schema["$schema"]?.string == "https://json-schema.org/draft/2020-12/schema")
            #expect(schema["properties"]?["kind"]?["const"]?.string == kind.name)
            for field in kind.fields {
                let property = try #require(schema["properties"]?["spec"]?["properties"]?[field.name])
                #expect(property["description"]?.string == field.about)
            }
        }
    }

    @Test("ids are shown by ends that tell them apart, and found by a beginning or an end")
    func shortIDs() throws {
        let ids = ["01a20bd3ee3a7d60b5b5ca66909a6ce8", "01a20bd3ee3a7d60b5b5ca66909a6ce9", "01a20bd3ee3b7d60aaaaca66119a6ce8"]
        let short = ShortID.texts(ids)
        #expect(Set(short.values).count == 3)
        #expect(short.values.allSatisfy { $0.count >= 8 })
        let candidates = ids.map { ($0, "run of train") }
        for (id, text) in short { #expect(try ShortID.find(text, "run", among: candidates) == id) }
        #expect(try ShortID.find("01a20bd3ee3b", "run", among: candidates) == ids[2])
        #expect(try ShortID.find(ids[0], "run", among: candidates) == ids[0])
        #expect(try ShortID.find("ffff", "run", among: candidates) == nil)
        let error = #expect(throws: KeelError.self) { try ShortID.find("01a20bd3", "run", among: candidates) }
        #expect(ids.allSatisfy { error?.message.contains($0) == true })
        #expect(ShortID.texts(["a", "a"]) == ["a": "a"])
        #expect(ShortID.texts([]).isEmpty)
    }

    @Test("a text is broken into lines that lose nothing of it")
    func lines() {
        let text = "reason logloss > incumbent.logloss * 1.05, release 8 " + String(repeating: "x", count: 70)
        let lines = Terminal.lines(text, 24)
        #expect(lines.allSatisfy { Terminal.cells($0) <= 24 })
        #expect(lines.joined().filter { $0 != " " } == text.filter { $0 != " " })
        #expect(Terminal.lines("", 24) == [""])
    }

    @Test("all mistakes of all files are named with file and line")
    func places() throws {
        let folder = NSTemporaryDirectory() + "/files-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try "apiVersion: keel/v1\nkind: Dataset\nmetadata: { nam: a }\nspec: {}\n---\nkind: [\n".write(
            toFile: folder + "/a.yaml", atomically: true, encoding: .utf8)
        try "apiVersion: keel/v2\nkind: Dataset\n".write(toFile: folder + "/b.yaml", atomically: true, encoding: .utf8)
        let error = #expect(throws: KeelError.self) { _ = try ResourceFiles(folder) }
        let paths = error?.all.compactMap(\.path) ?? []
        #expect(paths.contains { $0.hasPrefix(folder + "/a.yaml:") })
        #expect(paths.contains(folder + "/b.yaml:1: apiVersion"))
        try """
        apiVersion: keel/v1
        kind: Dataset
        metadata: { name: a.b }
        spec:
          columns:
            - { name: x, type: float64 }
            - name: y
              type: float65
        """.write(toFile: folder + "/a.yaml", atomically: true, encoding: .utf8)
        try FileManager.default.removeItem(atPath: folder + "/b.yaml")
        let files = try ResourceFiles(folder)
        let both = KeelError.joined([
            .invalid("is not a type", path: "Dataset/a.b.spec.columns[1].type"),
            .invalid("is missing", path: "Dataset/a.b.spec.columns[0].unit"),
            .invalid("elsewhere", path: "Dataset/other.spec"),
        ])
        let placed = files.placed(try #require(both)).all.map(\.path)
        #expect(
            placed == [
                folder + "/a.yaml:6: Dataset/a.b.spec.columns[0].unit", folder + "/a.yaml:8: Dataset/a.b.spec.columns[1].type",
                "Dataset/other.spec",
            ])
    }
}

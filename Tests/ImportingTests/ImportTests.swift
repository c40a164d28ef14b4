import Contracts
import Importing
import Testing

@Suite("Imports")
struct ImportTests {
    @Test("a fingerprint does not depend on order, and does on every row")
    func fingerprint() throws {
        func print(_ rows: [String]) -> Fingerprint {
            var out = Fingerprint()
            for row in rows { out.add(Array(row.utf8)) }
            return out
        }
        #expect(print(["a", "b", "c"]) == print(["c", "a", "b"]))
        #expect(print(["a", "b"]) != print(["a", "c"]) && print(["a"]) != print(["a", "a"]) && print([]).count == 0)
        let many = print((0..<1000).map(String.init))
        #expect(many.count == 1000 && Fingerprint(many.text) == many)
        #expect(Fingerprint("") == nil && Fingerprint("1:xyz") == nil && Fingerprint("1:" + String(repeating: "g", count: 32)) == nil)
    }

    @Test("what an import does follows from three digests")
    func states() {
        let (a, b, c) = (Digest(of: "a"), Digest(of: "b"), Digest(of: "c"))
        #expect(ImportState(foreign: a, own: a, imported: nil, claims: false) == .same)
        #expect(ImportState(foreign: a, own: nil, imported: nil, claims: false) == .new)
        #expect(ImportState(foreign: a, own: b, imported: b, claims: false) == .changed)
        #expect(ImportState(foreign: a, own: b, imported: c, claims: false) == .changed)
        #expect(ImportState(foreign: a, own: b, imported: a, claims: false) == .changedHere)
        #expect(ImportState(foreign: a, own: nil, imported: a, claims: false) == .changedHere)
        #expect(ImportState(foreign: a, own: b, imported: nil, claims: false) == .conflict)
        #expect(ImportState(foreign: a, own: b, imported: nil, claims: true) == .changed)
    }
}

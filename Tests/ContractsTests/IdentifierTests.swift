import Contracts
import Testing

@Suite("identifiers")
struct IdentifierTests {
    @Test("ids of rows are unique and sort by time, in both spellings")
    func ordered() {
        for make in [Identifier.uuid(at:), Identifier.ordered32(at:)] {
            let ids = (0..<2000).map { make(Timestamp(milliseconds: 1_700_000_000_000 + Int64($0))) }
            #expect(ids == ids.sorted())
            let together = (0..<2000).map { _ in make(Timestamp(milliseconds: 1_700_000_000_000)) }
            #expect(Set(together).count == 2000)
            #expect(Set(together.map { $0.replacing("-", with: "").prefix(12) }) == ["018bcfe56800"])
        }
    }

    @Test("32 characters are hexadecimal, of version 7 where they tell the time")
    func hexadecimal() {
        for id in [Identifier.hex32(), Identifier.ordered32(), Identifier.uuid().replacing("-", with: "")] {
            #expect(id.count == 32 && id.allSatisfy { "0123456789abcdef".contains($0) }, "\(id)")
        }
        let id = Array(Identifier.ordered32())
        #expect(id[12] == "7" && "89ab".contains(id[16]))
    }
}

import Console
import Contracts
import Testing

@Suite("Tables of pages")
struct PageTableTests {
    private struct Item: Equatable {
        let name: String
        let size: Double
    }
    private static let items = (0..<25).map { Item(name: "n\($0)", size: Double($0 % 5)) }
    private static let sorts: [String: @Sendable (Item) -> SortValue] = ["name": { .text($0.name) }, "size": { .number($0.size) }]

    private func page(_ query: String, of items: [Item] = items) throws -> TableSlice<Item> {
        try TableSlice(items, PageQuery(path: "/x", query: query), limit: 10, standard: "name", sorts: Self.sorts, id: { $0.name })
    }

    /// All pages one after the other, by the addresses that each gives for the next.
    private func pages(_ query: String) throws -> [Item] {
        var out: [Item] = []
        var after: String?
        repeat {
            let address = PageQuery(path: "/x", query: query).with(["after": after])
            let slice = try page(address.split(separator: "?").dropFirst().joined())
            out += slice.items
            after = slice.next
        } while after != nil
        return out
    }

    @Test(
        "pages by key show every row once, in the order that the address names",
        arguments: ["", "sort=name", "sort=-name", "sort=size", "sort=-size"])
    func whole(query: String) throws {
        let all = try pages(query)
        #expect(all.count == 25 && Set(all.map(\.name)).count == 25)
        let sizes = all.map(\.size)
        if query == "sort=size" { #expect(sizes == sizes.sorted()) }
        if query == "sort=-size" { #expect(sizes == sizes.sorted(by: >)) }
    }

    @Test("a page goes on where a row was that is gone")
    func gone() throws {
        let first = try page("")
        let after = PageQuery(path: "/x", query: "").with(["after": first.next]).dropFirst("/x?".count)
        let rest = Self.items.filter { $0 != first.items.last }
        let expected = try page(String(after)).items
        #expect(try page(String(after), of: rest).items == expected && !expected.isEmpty)
    }

    @Test(
        "an order or a place that the table has not is refused",
        arguments: ["sort=weight", "after=nonsense", "after=n1", "sort=name&after=x%1Fy"])
    func refused(query: String) throws { #expect(throws: KeelError.self) { _ = try page(query) } }

    @Test("an address keeps its filters, and a column's link turns its own order around")
    func addresses() throws {
        let query = PageQuery(path: "/console/endpoints", query: "q=a+b%26c&environment=staging&sort=name&after=x&workspace=w&empty=")
        #expect(query["q"] == "a b&c" && query["empty"] == nil)
        #expect(query.with(["after": nil]) == "/console/endpoints?q=a%20b%26c&environment=staging&sort=name")
        let view = PageTable(
            "T", [.init("Name", sort: "name"), .init("Size", sort: "size")], [[.text("a"), .number("1")]], next: "k", empty: ""
        ).view(query)
        let columns = try #require(view["columns"] as? [View])
        #expect(columns[0]["sortPath"] as? String == "/console/endpoints?q=a%20b%26c&environment=staging&sort=-name")
        #expect(columns[0]["sorted"] as? String == "ascending" && columns[1]["sorted"] as? Bool == false)
        #expect((view["next"] as? String)?.hasSuffix("&after=k") == true)
    }
}

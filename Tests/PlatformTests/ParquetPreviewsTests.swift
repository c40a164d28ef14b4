import Contracts
import Platform
import Testing

@Suite struct ParquetPreviewsTests {
    private func schema(_ elements: [(String, Int64)]) -> JSON {
        ["rows": .array(elements.map { .array([.string($0), $1 == 0 ? .null : .int($1)]) })]
    }

    @Test func theColumnsOfASchemaAreThoseBelowItsRoot() {
        #expect(ParquetPreviews.firstColumns(schema([("root", 2), ("a", 0), ("b", 0)])) == ["a", "b"])
        // A list and a struct with a struct in it are one column each.
        let nested = schema([
            ("root", 4), ("a", 0), ("tags", 1), ("list", 1), ("element", 0), ("s", 2), ("t", 1), ("u", 0), ("v", 0), ("z", 0),
        ])
        #expect(ParquetPreviews.firstColumns(nested) == ["a", "tags", "s", "z"])
        #expect(ParquetPreviews.firstColumns(schema([("root", 0)])).isEmpty && ParquetPreviews.firstColumns([:]).isEmpty)
    }

    @Test func aSchemaThatPromisesMoreThanItHasIsReadAsFarAsItGoes() {
        #expect(ParquetPreviews.firstColumns(schema([("root", 9), ("a", .max), ("b", .max), ("c", -5)])) == ["a"])
        let wide = schema([("root", 200)] + (0..<200).map { ("c\($0)", 0) })
        #expect(ParquetPreviews.firstColumns(wide).count == ParquetPreviews.columnsMax)
    }
}

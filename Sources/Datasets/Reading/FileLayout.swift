import Contracts

/// How rows come in: the columns that are read, in the order of the contract. Worked out once for each revision of it.
struct FileLayout: Sendable {
    struct Column: Sendable {
        var name: String
        var type: DataType
        var zone: String?
        var nameInFile: String
        var nameBytes: [UInt8]
    }
    let columns: [Column]
    let names: [String]
    let namesInFile: [String]
    /// The texts that mean null.
    let nulls: [[UInt8]]
    let nullLengthMax: Int
    /// Names of fields that are passed over.
    let ignored: [[UInt8]]

    init(_ columns: [DatasetSpec.Column], nulls: [String], ignored: [String]) {
        self.ignored = ignored.map { Array($0.utf8) }
        self.columns = columns.filter { $0.from == nil }.map {
            Column(name: $0.field.name, type: $0.field.type, zone: $0.zone, nameInFile: $0.nameInFile, nameBytes: Array($0.nameInFile.utf8))
        }
        names = self.columns.map(\.name)
        namesInFile = self.columns.map(\.nameInFile)
        self.nulls = nulls.map { Array($0.utf8) }
        nullLengthMax = self.nulls.map(\.count).max() ?? -1
    }
}

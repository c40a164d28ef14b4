import Contracts

extension DatasetSpec {
    /// What a changed contract means for the rows that are stored: a sentence for each column, for the key and for `knownAt`.
    public func effects(after old: DatasetSpec, rows: Int) -> [String] {
        guard rows > 0 else { return [] }
        let stored = rows == 1 ? "the 1 row stored before" : "the \(rows) rows stored before"
        var out: [String] = []
        for field in schema.fields {
            if let before = old.schema[field.name] {
                guard before.type != field.type else { continue }
                out.append(
                    "column '\(field.name)' was \(before.type): the values of \(stored) are converted to \(field.type) when they are read")
            } else {
                let rule = field.nullable ? "" : ", though it is not nullable"
                out.append("column '\(field.name)' is new: \(stored) read as null in it\(rule)")
            }
        }
        for field in old.schema.fields where schema[field.name] == nil {
            out.append("column '\(field.name)' is no longer read: its values in \(stored) stay in the files")
        }
        if key != old.key, !key.isEmpty { out.append("the key is (\(key.joined(separator: ", "))): \(stored) are not checked against it") }
        if knownAt != old.knownAt {
            func source(_ column: String?) -> String { column.map { "'\($0)'" } ?? "when Keel accepted them" }
            out.append(
                "knownAt was \(source(old.knownAt)) and is \(source(knownAt)): training sets are made of other rows from now on, \(stored) among them")
        }
        return out
    }
}

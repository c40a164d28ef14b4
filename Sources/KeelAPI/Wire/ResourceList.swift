import Contracts

/// The body of `plan` and `apply`: `{"resources": [ … ]}`.
public enum ResourceList {
    public static let countMax = 1000

    public static func decode(_ json: JSON) throws(KeelError) -> [Resource] {
        let reader = try FieldReader(json, path: "")
        let list = try reader.required("resources")
        try reader.finish()
        guard let items = list.array, items.count <= countMax else {
            throw .invalid("must be a list of at most \(countMax) resources", path: "resources")
        }
        var out: [Resource] = []
        var errors: [KeelError] = []
        for (i, item) in items.enumerated() {
            do throws(KeelError) { out.append(try Resource(json: item)) } catch {
                let place = item["kind"]?.string.map { "\($0)/\(item["metadata"]?["name"]?.string ?? "?")" } ?? "resources[\(i)]"
                errors.append(error.at(place))
            }
        }
        if let error = KeelError.joined(errors) { throw error }
        return out
    }
}

/// Kinds of resources by the words that people use in paths and on the command line: `dataset`, `datasets`, `Dataset`.
public enum KindName {
    public static func kind(_ word: String, of kinds: [String]) throws(KeelError) -> String {
        let lower = word.lowercased()
        for kind in kinds {
            let name = kind.lowercased()
            if lower == name || lower == name + "s" || (name.hasSuffix("y") && lower == name.dropLast() + "ies") { return kind }
        }
        throw .notFound(
            "there is no kind '\(word.prefix(60))'",
            hint: nearest(word, in: kinds.map { $0.lowercased() + "s" }).map { "did you mean '\($0)'?" }
                ?? "kinds: \(kinds.joined(separator: ", "))")
    }
}

import Contracts

/// The YAML in front of a card, as Hugging Face defines it (huggingface.co/docs/hub/model-cards).
extension ModelCard {
    /// Slices that are in the metadata; the text has all.
    private static let slicesMax = 200
    /// What stands where Hugging Face demands a word and nobody stated one.
    private static let unknown = "unknown"

    var frontMatter: String {
        var lines = ["---", "license: \(quoted(statements?.spec.license ?? ModelCard.unknown))"]
        lines += list("language", statements?.spec.languages ?? [])
        if let library { lines.append("library_name: \(quoted(library))") }
        if let task = statements?.spec.task { lines.append("pipeline_tag: \(quoted(task))") }
        lines += list("tags", ["keel", "mlflow"] + (version.facts?.flavors ?? []) + version.aliases)
        lines += list("datasets", datasets.map(\.name))
        lines += list("metrics", overall.map(\.name))
        lines += ["model-index:", "- name: \(quoted(version.name))"]
        let results = result(overall, of: nil) + sliced.prefix(ModelCard.slicesMax).flatMap { result($0.measurements, of: $0.slice) }
        lines += results.isEmpty ? ["  results: []"] : ["  results:"] + results
        return (lines + ["---", ""]).joined(separator: "\n")
    }

    /// One result; Hugging Face's tools read finite numbers only.
    private func result(_ measurements: [Measurement], of slice: Slice?) -> [String] {
        let finite = measurements.filter { $0.value.isFinite }
        guard !finite.isEmpty else { return [] }
        let data = datasets.first { $0.context?.hasPrefix("eval") == true } ?? datasets.first
        var lines = [
            "  - task:", "      type: \(quoted(statements?.spec.task ?? ModelCard.unknown))", "    dataset:",
            "      type: \(quoted(data?.name ?? ModelCard.unknown))", "      name: \(quoted(data?.name ?? ModelCard.unknown))",
        ]
        if let slice { lines += ["      args:", "        \(quoted(slice.column)): \(quoted(slice.value))"] }
        lines.append("    metrics:")
        for metric in finite {
            lines += ["    - type: \(quoted(metric.name))", "      name: \(quoted(metric.name))", "      value: \(number(metric.value))"]
        }
        return lines
    }

    /// Nothing when there are no items.
    private func list(_ key: String, _ items: [String]) -> [String] {
        var seen: Set<String> = []
        let unique = items.filter { seen.insert($0).inserted }
        return unique.isEmpty ? [] : ["\(key):"] + unique.map { "- \(quoted($0))" }
    }

    /// The library that loads it, as Hugging Face calls it.
    private var library: String? {
        let known = [
            ("transformers", "transformers"), ("sentence_transformers", "sentence-transformers"), ("sklearn", "sklearn"),
            ("keras", "keras"),
            ("tensorflow", "tf-keras"), ("pytorch", "pytorch"), ("xgboost", "xgboost"), ("lightgbm", "lightgbm"), ("catboost", "catboost"),
            ("onnx", "onnx"), ("spacy", "spacy"), ("statsmodels", "statsmodels"),
        ]
        let flavors = Set(version.facts?.flavors ?? [])
        return known.first { flavors.contains($0.0) }?.1 ?? flavors.sorted().first { $0 != "python_function" }
    }

    /// A JSON string, which YAML reads as it is, once what YAML does not allow in a file is escaped.
    private func quoted(_ text: String) -> String {
        var out = ""
        for scalar in JSON.string(text).text.unicodeScalars {
            switch scalar.value {
            case 0x7f...0x9f, 0x2028, 0x2029, 0xfeff, 0xfffe, 0xffff:
                out += "\\u" + hexText([UInt8(scalar.value >> 8), UInt8(scalar.value & 0xff)])
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    /// `1e-05` is a text to YAML 1.1, `1.0e-05` is a number.
    private func number(_ value: Double) -> String {
        let text = "\(value)"
        guard let e = text.firstIndex(of: "e"), !text.contains(".") else { return text }
        return text[..<e] + ".0" + text[e...]
    }
}

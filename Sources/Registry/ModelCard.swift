import Contracts

/// A model card (Mitchell et al., 2019) with Hugging Face's metadata: what is known of one version, and what is not stated.
public struct ModelCard: Sendable {
    public struct Dataset: Sendable, Hashable {
        public let name: String
        public let digest: String
        /// `training`, `evaluation`.
        public let context: String?
        public let source: String

        public init(name: String, digest: String, context: String?, source: String) {
            (self.name, self.digest, self.context, self.source) = (name, digest, context, source)
        }
    }
    /// The run that made it.
    public struct Training: Sendable, Hashable {
        public var run: String
        public var startedAt: Timestamp
        public var by: String
        /// The program and the commit it was of.
        public var source: String?
        public var commit: String?
        public var params: [ModelTag]

        public init(run: String, startedAt: Timestamp, by: String, source: String?, commit: String?, params: [ModelTag]) {
            (self.run, self.startedAt, self.by, self.source, self.commit, self.params) = (run, startedAt, by, source, commit, params)
        }
    }
    public struct Measurement: Sendable, Hashable {
        public let name: String
        public let value: Double
        /// Of which part of the data: `carrier = UA`; nil for all.
        public let slice: String?
        public init(name: String, value: Double, slice: String? = nil) { (self.name, self.value, self.slice) = (name, value, slice) }
    }
    /// Something that was decided about it.
    public struct Decision: Sendable, Hashable {
        public let at: Timestamp
        public let by: String
        public let text: String
        public init(at: Timestamp, by: String, text: String) { (self.at, self.by, self.text) = (at, by, text) }
    }

    public let version: ModelVersion
    public let model: RegisteredModel
    public var training: Training?
    public var datasets: [Dataset] = []
    public var measurements: [Measurement] = []
    public var decisions: [Decision] = []
    /// What the gate of the pipeline said.
    public var gate: String?

    public init(model: RegisteredModel, version: ModelVersion) { (self.model, self.version) = (model, version) }

    /// What only people can say: tags of the version, or of the model, with this prefix.
    public static let tagPrefix = "card."
    /// Tag after the prefix → heading.
    private static let statements = [
        ("intendedUse", "Intended use"), ("limitations", "Limitations"), ("ethicalConsiderations", "Ethical considerations"),
    ]

    private func said(_ key: String) -> String? {
        let text = version.tags.text(ModelCard.tagPrefix + key) ?? model.tags.text(ModelCard.tagPrefix + key)
        return text.flatMap { $0.isEmpty ? nil : $0 }
    }

    public var markdown: String { frontMatter + "\n" + body.joined(separator: "\n") + "\n" }

    // MARK: Hugging Face's metadata

    private var library: String? {
        let known = [
            ("transformers", "transformers"), ("sentence_transformers", "sentence-transformers"), ("sklearn", "sklearn"), ("keras", "keras"),
            ("tensorflow", "tf-keras"), ("pytorch", "pytorch"), ("xgboost", "xgboost"), ("lightgbm", "lightgbm"), ("catboost", "catboost"),
            ("onnx", "onnx"), ("spacy", "spacy"), ("statsmodels", "statsmodels"),
        ]
        let flavors = Set(version.facts?.flavors ?? [])
        return known.first { flavors.contains($0.0) }?.1 ?? flavors.sorted().first { $0 != "python_function" }
    }

    /// YAML whose texts are JSON strings, which YAML reads as they are.
    private var frontMatter: String {
        func quoted(_ text: String) -> String { JSON.string(text).text }
        var lines = ["---", "license: \(quoted(said("licence") ?? said("license") ?? "unknown"))"]
        if let library { lines.append("library_name: \(quoted(library))") }
        let tags = ["keel", "mlflow"] + (version.facts?.flavors ?? []) + version.aliases
        lines.append("tags:")
        lines += tags.map { "- \(quoted($0))" }
        let overall = measurements.filter { $0.slice == nil && $0.value.isFinite }
        if !datasets.isEmpty { lines += ["datasets:"] + datasets.map { "- \(quoted($0.name))" } }
        lines.append(overall.isEmpty ? "metrics: []" : "metrics:")
        lines += overall.map { "- \(quoted($0.name))" }
        lines += ["model-index:", "- name: \(quoted(version.name))"]
        guard !overall.isEmpty else { return (lines + ["  results: []", "---", ""]).joined(separator: "\n") }
        let data = datasets.first { $0.context?.hasPrefix("eval") == true } ?? datasets.first
        lines += [
            "  results:", "  - task:", "      type: \(quoted(said("task") ?? "tabular-classification"))", "    dataset:",
            "      type: \(quoted(data?.name ?? "unknown"))", "      name: \(quoted(data?.name ?? "not stated"))", "    metrics:",
        ]
        for metric in overall {
            lines += ["    - type: \(quoted(metric.name))", "      name: \(quoted(metric.name))", "      value: \(metric.value)"]
        }
        return (lines + ["---", ""]).joined(separator: "\n")
    }

    // MARK: Text

    private var body: [String] {
        var out = ["# \(inline(version.name)), version \(version.version)", ""]
        let description = version.description.isEmpty ? model.description : version.description
        out += [description.isEmpty ? gap("description") : description, ""]
        out += details
        for (key, heading) in ModelCard.statements {
            out += ["## \(heading)", "", said(key) ?? gap("\(heading.lowercased()) (tag \(ModelCard.tagPrefix)\(key))"), ""]
        }
        out += signatureSection + trainingSection + measurementSection
        out += ["## Approvals and stage", ""]
        out += ["- Stage: \(version.stage.rawValue)", "- Aliases: \(version.aliases.isEmpty ? "none" : inline(version.aliases.joined(separator: ", ")))"]
        out += ["- Gate: \(gate.map(inline) ?? gap("the result of a gate"))", ""]
        if !decisions.isEmpty { out += table(["when", "who", "what"], decisions.map { [$0.at.description, $0.by, $0.text] }) + [""] }
        return out
    }

    private var details: [String] {
        let facts = version.facts
        var rows = [
            ["owner", said("owner") ?? gap("owner")], ["contacts", said("contacts") ?? gap("contacts")],
            ["licence", said("licence") ?? said("license") ?? gap("licence")], ["registered", "\(version.createdAt) by \(version.userID)"],
            ["flavours", facts.map { $0.flavors.joined(separator: ", ") } ?? gap("flavours (no MLmodel file is kept here)")], ["source", version.source],
        ]
        if let bytes = facts?.bytes { rows.append(["size", "\(bytes) bytes"]) }
        if let id = version.modelID { rows.append(["logged model", id]) }
        return ["## Details", ""] + table(["", ""], rows) + [""]
    }

    private var signatureSection: [String] {
        var out = ["## Signature", ""]
        guard let facts = version.facts, !facts.inputs.isEmpty else { return out + [gap("signature"), ""] }
        func rows(_ columns: [ModelFacts.Column], _ side: String) -> [[String]] {
            columns.prefix(500).map { [side, $0.name ?? "-", $0.type?.description ?? $0.written, $0.isRequired ? "yes" : "no"] }
        }
        out += table(["", "name", "type", "required"], rows(facts.inputs, "input") + rows(facts.outputs, "output"))
        if let example = facts.inputExample { out += ["", "Input example: `\(inline(example))`"] }
        return out + [""]
    }

    private var trainingSection: [String] {
        var out = ["## Training", ""]
        if let training {
            out += table(
                ["", ""],
                [
                    ["run", training.run], ["started", training.startedAt.description], ["by", training.by], ["program", training.source ?? gap("program")],
                    ["code version", training.commit ?? gap("code version")],
                ])
            if !training.params.isEmpty { out += [""] + table(["parameter", "value"], training.params.map { [$0.key, $0.value] }) }
        } else {
            out.append(gap("training run"))
        }
        out += ["", "## Data", ""]
        out +=
            datasets.isEmpty
            ? [gap("datasets")] : table(["dataset", "digest", "used for", "source"], datasets.map { [$0.name, $0.digest, $0.context ?? "-", $0.source] })
        return out + [""]
    }

    private var measurementSection: [String] {
        let (overall, slices) = (measurements.filter { $0.slice == nil }, measurements.filter { $0.slice != nil })
        var out = ["## Evaluation", ""]
        out += overall.isEmpty ? [gap("metrics")] : table(["metric", "value"], overall.map { [$0.name, "\($0.value)"] })
        out += ["", "### By slice", ""]
        out += slices.isEmpty ? [gap("metrics by slice")] : table(["metric", "slice", "value"], slices.map { [$0.name, $0.slice ?? "", "\($0.value)"] })
        return out + [""]
    }

    private func gap(_ thing: String) -> String { "*Not stated: \(thing).*" }

    private func table(_ headings: [String], _ rows: [[String]]) -> [String] {
        func line(_ cells: [String]) -> String { "| " + cells.map(inline).joined(separator: " | ") + " |" }
        return [line(headings), "|" + String(repeating: "---|", count: headings.count)] + rows.map(line)
    }

    /// A text that stays in its line and cell, and is no HTML.
    private func inline(_ text: String) -> String {
        String(
            text.prefix(2000).flatMap { character -> [Character] in
                switch character {
                case "|": ["\\", "|"]
                case "<": Array("&lt;")
                case _ where character.isNewline: [" "]
                default: [character]
                }
            })
    }
}

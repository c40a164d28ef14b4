import Contracts

/// The text of a card: sections in Markdown, each with what is known or a gap that says what is missing and who could say it.
extension ModelCard {
    private static let columnsMax = 500

    var body: [String] {
        let description = version.description.isEmpty ? model.description : version.description
        return ["# \(inline(version.name)), version \(version.version)", "", description.isEmpty ? gap("description") : description, ""]
            + details + said + signature + trained + data + evaluation + decided
    }

    private func section(_ heading: String, _ lines: [String]) -> [String] { ["## \(heading)", ""] + lines + [""] }

    private var details: [String] {
        let (facts, spec) = (version.facts, statements?.spec)
        let contacts = spec?.contacts ?? []
        var rows = [
            ["owner", spec?.owner ?? gap("owner", "metadata.owner")],
            ["contacts", contacts.isEmpty ? gap("contacts", "spec.contacts") : contacts.joined(separator: ", ")],
            ["license", spec?.license ?? gap("license", "spec.license")], ["task", spec?.task ?? gap("task", "spec.task")],
            ["registered", "\(version.createdAt) by \(version.userID)"],
            ["flavours", facts.map { $0.flavors.joined(separator: ", ") } ?? gap("flavours (no MLmodel file is kept here)")],
            ["source", version.source],
        ]
        if let bytes = facts?.bytes { rows.append(["size", "\(bytes) bytes"]) }
        if let id = version.modelID { rows.append(["logged model", id]) }
        if let featureService { rows.append(["features", "FeatureService/\(featureService)"]) }
        if let trainedUntil { rows.append(["trained on rows until", trainedUntil.description]) }
        if let said = statements {
            rows.append(["statements", "ModelCard/\(said.spec.name), revision \(said.revision), \(said.at) by \(said.by)"])
        }
        return section("Details", table(["", ""], rows))
    }

    private var said: [String] {
        ModelCardSpec.Statement.allCases.flatMap { statement in
            section(
                statement.heading,
                [statements?.spec.statements[statement] ?? gap(statement.heading.lowercased(), "spec.\(statement.rawValue)")])
        }
    }

    private var signature: [String] {
        guard let facts = version.facts, !facts.inputs.isEmpty else { return section("Signature", [gap("signature")]) }
        func rows(_ columns: [ModelFacts.Column], _ side: String) -> [[String]] {
            columns.prefix(ModelCard.columnsMax).map {
                [side, $0.name ?? "-", $0.type?.description ?? $0.written, $0.isRequired ? "yes" : "no"]
            }
        }
        var lines = table(["", "name", "type", "required"], rows(facts.inputs, "input") + rows(facts.outputs, "output"))
        if let example = facts.inputExample { lines += ["", "Input example: `\(inline(example))`"] }
        return section("Signature", lines)
    }

    private var trained: [String] {
        guard let training else { return section("Training", [gap("training run")]) }
        var lines = table(
            ["", ""],
            [
                ["run", training.run], ["started", training.startedAt.description], ["by", training.by],
                ["program", training.source ?? gap("program")],
                ["code version", training.commit ?? gap("code version")],
            ])
        if !training.params.isEmpty { lines += [""] + table(["parameter", "value"], training.params.map { [$0.key, $0.value] }) }
        return section("Training", lines)
    }

    private var data: [String] {
        guard !datasets.isEmpty else { return section("Data", [gap("datasets")]) }
        return section(
            "Data",
            table(["dataset", "digest", "used for", "source"], datasets.map { [$0.name, $0.digest, $0.context ?? "-", $0.source] }))
    }

    private var evaluation: [String] {
        var lines = overall.isEmpty ? [gap("metrics")] : table(["metric", "value"], overall.map { [$0.name, "\($0.value)"] })
        lines += ["", "### By slice", ""]
        let (sliced, wanted) = (sliced, statements?.spec.slices ?? [])
        if !sliced.isEmpty {
            lines += table(
                ["slice", "metric", "value"],
                sliced.flatMap { part in part.measurements.map { ["\(part.slice.column) = \(part.slice.value)", $0.name, "\($0.value)"] } })
        }
        let measured = Set(sliced.map(\.slice.column))
        let missing = wanted.filter { !measured.contains($0) }
        if sliced.isEmpty, wanted.isEmpty { lines.append(gap("metrics by slice")) }
        if !sliced.isEmpty, !missing.isEmpty { lines.append("") }
        if !missing.isEmpty { lines.append(gap("metrics by slice: \(missing.joined(separator: ", "))")) }
        return section("Evaluation", lines)
    }

    private var decided: [String] {
        var lines = [
            "- Stage: \(version.stage.rawValue)",
            "- Aliases: \(version.aliases.isEmpty ? "none" : inline(version.aliases.joined(separator: ", ")))",
            "- Gate: \(gate.map(inline) ?? gap("the result of a gate"))",
        ]
        lines += [""] + (approvalRows.isEmpty ? [gap("approvals")] : table(["approved", "by", "bundle", "why"], approvalRows))
        if !evidenceRows.isEmpty { lines += ["", "### Evidence", ""] + table(["", ""], evidenceRows) }
        if !checkRows.isEmpty { lines += [""] + table(["condition of the gate", "result", "what was seen"], checkRows) }
        if hasOlderDecisions {
            let models = "`keel models history \(inline(version.name)) --version \(version.version)`"
            lines += ["", "Older decisions: \(models); about releases: `keel ledger --subject Endpoint/NAME`."]
        }
        if !decisions.isEmpty { lines += [""] + table(["when", "who", "what"], decisions.map { [$0.at.description, $0.by, $0.text] }) }
        return section("Approvals and stage", lines)
    }

    // MARK: Markdown

    /// - Parameter field: where a `ModelCard` says it.
    private func gap(_ thing: String, _ field: String? = nil) -> String {
        "*Not stated: \(inline(thing))\(field.map { " (\($0) of a ModelCard)" } ?? "").*"
    }

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

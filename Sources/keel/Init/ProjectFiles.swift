import Contracts

/// The files of a new project: what is known of its table, made into resources that `keel apply` takes as they are.
struct ProjectFiles {
    /// Of the project, the dataset, the model and the endpoint.
    let name: String
    let table: TableGuess
    /// The file that was looked at, as people name it.
    let source: String

    private func scalar(_ column: ColumnGuess) -> String { YAMLText.scalar(column.name) }

    var dataset: String {
        let lines = table.columns.map { "    - " + $0.yaml(isLabel: $0.name == table.label.name) }
        let key = table.key.map { "\n  key: [\(scalar($0))]" } ?? ""
        return """
            # The contract of the table: suggested from \(source). Rows that break it are set aside with the reason.
            apiVersion: keel/v1
            kind: Dataset
            metadata: { name: \(name) }
            spec:
              eventTime: \(scalar(table.time))\(key)
              columns:
            \(lines.joined(separator: "\n"))

            """
    }

    var features: String {
        let numbers = Array(table.numbers.prefix(6))
        var history = ["    - { name: rows_30d, aggregate: count, window: 30d }"]
        history += numbers.map { "    - { name: \(safe($0))_mean_30d, aggregate: mean, of: \(scalar($0)), window: 30d }" }
        history.append("    - { name: \(safe(table.label))_share_90d, aggregate: mean, of: \(scalar(table.label)), window: 90d }")
        let asked = numbers.map { "    - { name: \(safe($0))_now, expression: \"\($0.name)\" }" }
        let request =
            numbers.isEmpty
            ? ""
            : """
            ---
            # What the question itself says.
            apiVersion: keel/v1
            kind: FeatureView
            metadata: { name: \(name)_asked }
            spec:
              from: request
              features:
            \(asked.joined(separator: "\n"))

            """
        return """
            apiVersion: keel/v1
            kind: Entity
            metadata: { name: \(name)_\(safe(table.entity)) }
            spec: { keys: { \(scalar(table.entity)): \(table.entity.type) } }
            ---
            # What is known of one \(table.entity.name) at an instant: kept online as rows come in, and in training sets as it was known then.
            apiVersion: keel/v1
            kind: FeatureView
            metadata: { name: \(name)_history }
            spec:
              entity: \(name)_\(safe(table.entity))
              source: \(name)
              features:
            \(history.joined(separator: "\n"))
            \(request)---
            apiVersion: keel/v1
            kind: FeatureService
            metadata: { name: \(name) }
            spec: { at: \(scalar(table.time)), features: [\(name)_history\(numbers.isEmpty ? "" : ", \(name)_asked")] }

            """
    }

    var training: String {
        let from = String(table.first.description.prefix(10))
        return """
            apiVersion: keel/v1
            kind: Pipeline
            metadata: { name: train-\(dashed) }
            spec:
              parameters: { from: \(from), until: now, trees: 60 }
              steps:
                - name: examples
                  uses: training-set
                  with:
                    labels: \(name)
                    label: "\(table.label.name) = 1"
                    at: \(scalar(table.time))
                    features: \(name)
                    between: [$from, $until]
                    holdout: 20%                         # the last rows in time
                - { name: fit, uses: gradient-boosting, with: { data: $examples, trees: $trees, depth: 4 } }
                - { name: evaluate, uses: evaluate, with: { model: $fit.candidate, data: $examples.holdout } }
                # Raise the bar once you know what is possible.
                - { name: gate, uses: gate, with: { metrics: $evaluate, require: ["auc >= 0.55"] } }
                - { name: register, uses: register, with: { model: $fit.model, name: \(name), metrics: $evaluate, gate: $gate } }
                - { name: release, uses: release, with: { model: $register, endpoint: \(name) } }

            """
    }

    var serving: String {
        """
        # A new release takes the traffic in steps, and is taken back when it does worse.
        apiVersion: keel/v1
        kind: Endpoint
        metadata: { name: \(name), environment: production }
        spec:
          features: \(name)
          rollout: { shadow: { requests: 100 }, canary: { shares: [10%, 50%, 100%], every: { requests: 100 } }, rollbackWhen: ["errors > 1%"] }
        ---
        # Compares what is asked and answered with what the model was trained on, day by day.
        apiVersion: keel/v1
        kind: Monitor
        metadata: { name: \(name) }
        spec:
          endpoint: \(name)
          window: 1d
          drift: { method: psi, threshold: 0.2 }
          performance: { label: { within: 30d }, metric: auc }

        """
    }

    /// A question that the endpoint answers, as JSON.
    /// - Parameter values: of one row of the file, by column.
    func question(_ values: [String: String]) -> JSON {
        var members = [JSON.Member(table.entity.name, value(table.entity, values))]
        members.append(JSON.Member(table.time.name, .string(values[table.time.name] ?? table.last.description)))
        members += table.numbers.prefix(6).map { JSON.Member($0.name, value($0, values)) }
        return .object(members)
    }

    func readme(_ question: JSON) -> String {
        """
        # \(name)

        Predicts `\(table.label.name)` for a `\(table.entity.name)` at an instant. With a server (`keel serve`):

        ```
        keel apply \(name)
        keel ingest \(name) \(source)
        keel run train-\(dashed) --now \(after)
        keel predict \(name) '\(question.text)'
        ```

        `dataset.yaml` is the contract, `features.yaml` what the model sees, `training.yaml` how it comes to be, and `serving.yaml` how it is released
        and watched.
        `keel plan \(name)` shows what a change would do.

        """
    }

    /// The first midnight behind all rows: what "now" means while history is trained on.
    var after: String { String((table.last + .days(1)).description.prefix(10)) }

    var dashed: String { name.replacing("_", with: "-") }

    private func safe(_ column: ColumnGuess) -> String {
        String(column.name.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }

    private func value(_ column: ColumnGuess, _ values: [String: String]) -> JSON {
        let text = values[column.name] ?? ""
        switch column.type {
        case "int64": return Int64(text).map(JSON.int) ?? .null
        case "float64": return Double(text).map(JSON.double) ?? .null
        default: return .string(text)
        }
    }
}

import Contracts
import Expressions
import Platform
import Workflows

/// The pages of `docs/reference`, made from the code: what the decoders, the settings and the commands are described by.
package enum ReferencePages {
    package static var all: [(name: String, text: String)] {
        [
            ("resources.md", resources), ("expressions.md", expressions), ("settings.md", settings), ("permissions.md", permissions),
            ("commands.md", CommandReference.page),
        ].map { ($0.0, "<!-- Made by `keel docs`; change the code instead. -->\n\n" + $0.1) }
    }

    private static var resources: String {
        let intro = """
            # Resources

            What is declared in YAML: `apiVersion: \(Resource.apiVersion)`, `kind`, `metadata` with `name` and, if wanted, `owner`, `labels` and (for an
            Endpoint or a Monitor) `environment`, and `spec` with the fields below. `keel plan` shows what would change, `keel apply` makes it so.
            An unknown field is an error. `keel schema KIND` prints a kind as JSON Schema for editors.

            """
        let kinds = Reference.kinds.map { "## \($0.name)\n\n\($0.about)\n\n" + fields($0.fields) }
        let steps = Reference.steps.map { "### `uses: \($0.name)`\n\n\($0.about)\n\n" + fields($0.fields) }
        return ([intro] + kinds + ["## Steps of pipelines\n"] + steps).joined(separator: "\n")
    }

    /// A table of the fields, those of inner objects after the one that holds them.
    private static func fields(_ fields: [FieldSchema]) -> String {
        "| field | type | default | |\n|---|---|---|---|\n" + rows(fields, "").joined()
    }

    private static func rows(_ fields: [FieldSchema], _ prefix: String) -> [String] {
        fields.flatMap { field -> [String] in
            let standard = field.isRequired ? "**required**" : field.standard.map { "`\($0)`" } ?? ""
            let own = "| `\(prefix)\(field.name)` | \(type(field.value)) | \(cell(standard)) | \(cell(field.about)) |\n"
            switch field.value {
            case .object(let inner): return [own] + rows(inner, "\(prefix)\(field.name).")
            case .list(.object(let inner)): return [own] + rows(inner, "\(prefix)\(field.name)[].")
            default: return [own]
            }
        }
    }

    private static func type(_ value: ValueSchema) -> String {
        switch value {
        case .text: "text"
        case .flag: "true or false"
        case .integer: "whole number"
        case .number: "number"
        case .span: "length of time"
        case .share: "share"
        case .expression: "[expression](expressions.md)"
        case .word(let words): words.map { "`\($0)`" }.joined(separator: ", ")
        case .texts: "text, or list of texts"
        case .list(.object): "list of objects"
        case .list(let item): "list of \(type(item))"
        case .object: "object"
        case .map(let value): "names with \(value == .any ? "values" : "a \(type(value)) each")"
        case .any: "any"
        }
    }

    package static func cell(_ text: String) -> String { text.replacing("|", with: "\\|").replacing("\n", with: " ") }

    private static var expressions: String {
        let rows = ExpressionFunction.allCases.map { "| `\(cell($0.help.signature))` | \(cell($0.help.meaning)) |" }
        return """
            # Expressions

            One small language for `where`, `from`, `of`, `label`, gates, rollouts and monitors: names of columns, numbers, texts in `'…'`, shares such as
            `5%`, `+ - * /`, `= <> < <= > >=`, `and or not`, `is null`, `in (…)`, `between … and …`, `case when … then … else … end`, and the functions below. Nulls count as in
            SQL. An expression is checked against its columns' types when it is applied, and gives the same value online and in training sets.

            | function | gives |
            |---|---|
            \(rows.joined(separator: "\n"))

            """
    }

    private static var settings: String {
        let rows = KeelConfiguration.reference.map { setting in
            let variable = "KEEL_" + setting.key.uppercased().replacing(".", with: "_")
            return "| `\(setting.key)` | `\(variable)` | `\(cell(setting.standard))` | \(cell(setting.about)) |"
        }
        return """
            # Settings

            Of `keel serve`: from a YAML file (`--config FILE`), from the environment, and for some from arguments; the later wins. A setting that is not
            known is an error. Commands other than `serve` read `KEEL_URL` (the server) and `KEEL_TOKEN` (who asks).

            | setting | variable | default | |
            |---|---|---|---|
            \(rows.joined(separator: "\n"))

            """
    }

    private static var permissions: String {
        let personas = Persona.allCases
        let heads = personas.map { "\($0.rawValue)" }.joined(separator: " | ")
        let rows = Action.allCases.map { action in
            let marks = personas.map { Permissions.actions(of: $0).contains(action) ? "•" : "" }.joined(separator: " | ")
            return "| `\(action.rawValue)` | \(action.about) | \(marks) |"
        }
        return """
            # Permissions

            A caller has a persona or roles, and each its actions ([access](../access.md)). Every route of the API states its action in `/openapi.json` (`x-keel-action`).

            \(personas.map { "- **\($0.rawValue)**: \($0.about)" }.joined(separator: "\n"))

            | action | allows to | \(heads) |
            |---|---|\(personas.map { _ in "---|" }.joined())
            \(rows.joined(separator: "\n"))

            """
    }
}

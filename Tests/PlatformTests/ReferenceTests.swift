import Contracts
import Foundation
import Logging
import Pipelines
import Platform
import Testing
import Workflows

/// The descriptions of kinds are held against their decoders, both ways: what a decoder asks for is described, and what is described it asks for.
@Suite("Reference")
struct ReferenceTests {
    /// Specs that together reach every object and every branch of each decoder.
    static let examples: [String: [JSON]] = [
        "Dataset": [
            [
                "columns": [["name": "x", "type": "float64"]],
                "expectations": [["rows": [1, nil]], ["column": "x", "nulls": "< 5%"]],
            ]
        ],
        "Entity": [["keys": ["user": "string"]]],
        "FeatureView": [
            [
                "source": "d", "entity": "e", "keys": ["user": "who"],
                "features": [["name": "a", "aggregate": "count", "window": "1h"], ["name": "b", "of": "x"]],
            ],
            ["from": "request", "columns": ["x": "float64"], "features": [["name": "c", "expression": "x"]]],
        ],
        "FeatureService": [["features": ["view"]]],
        "Pipeline": [["parameters": ["trees": 1], "steps": [["name": "one", "uses": "shell", "with": ["run": "true"]]]]],
        "Endpoint": [
            [
                "rollout": [
                    "shadow": ["requests": 1], "canary": ["shares": ["5%"], "every": ["requests": 1]], "minimum": ["requests": 1],
                ],
                "log": ["sample": "5%"], "limits": ["rows": 1], "before": ["models:/a/1"], "after": ["models:/b/1"], "label": ["within": "7d"],
                "remote": [
                    "url": "https://triton.example", "protocol": "open-inference", "model": "m", "version": "3", "parameters": ["a": 1],
                    "inputs": [["name": "x", "type": "float32"]], "outputs": [["name": "y", "type": "float32"]], "example": [["x": 1]],
                ],
            ]
        ],
        "Monitor": [
            [
                "endpoint": "e", "window": "1d", "drift": ["threshold": 0.2], "performance": ["label": ["within": "1d"]],
            ]
        ],
        "Trigger": [["when": ["dataset/d snapshot"], "run": "p"]],
        "ModelPolicy": [
            ["pythonModels": "refused"],
            ["pythonModels": "signed", "signers": [["name": "ci", "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]]],
        ],
        "ModelCard": [["license": "mit"]], "Role": [["actions": ["registry.read"]]],
        "RoleBinding": [
            [
                "role": "service", "tokens": ["ci"], "users": ["people:dana"], "groups": ["people:risk"], "environments": ["staging"],
                "kinds": ["Endpoint"], "names": ["a*"], "labels": ["team": "x"],
            ]
        ],
        "training-set": [["labels": "d", "label": "x = 1", "at": "t", "features": "s", "between": ["2020-01-01", "now"]]],
        "gradient-boosting": [["data": "$a"]], "evaluate": [["model": "$a", "data": "$b"]],
        "gate": [["metrics": "$a", "require": ["auc > 0.5"]]], "register": [["model": "$a", "name": "m"]],
        "release": [["model": "$a", "endpoint": "e"]], "shell": [["run": "true", "env": ["A": "b"]]],
        "python": [["code": "pass", "args": ["x"], "env": ["A": "b"]]],
    ]
    static let stranger = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"

    @Test(
        "every field that is described is asked for, and every one that is asked for is described",
        arguments: Reference.kinds + Reference.steps)
    func bothWays(schema: KindSchema) async throws {
        let decode = try await Self.decoder(of: schema)
        let examples = try #require(Self.examples[schema.name], "add an example of \(schema.name) to ReferenceTests.examples")
        for example in examples { try decode(example) }
        for place in Self.objects(schema.fields, []) {
            var asked: Set<String> = []
            for example in examples {
                for changed in Self.adding(Self.stranger, to: example, at: place.path) {
                    do {
                        try decode(changed)
                        Issue.record("\(schema.name): an unknown field in \(place.path) is not refused")
                    } catch let error as KeelError {
                        let hint = try #require(error.hint, "\(schema.name): \(error)")
                        try #require(
                            error.path?.hasSuffix(Self.stranger) == true && hint.hasPrefix("known fields: "), "\(schema.name): \(error)")
                        asked.formUnion(
                            hint.dropFirst("known fields: ".count).split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
                    }
                }
            }
            let described = Set(place.fields.map(\.name))
            let where_ = "\(schema.name) \(place.path.isEmpty ? "spec" : place.path.joined(separator: "."))"
            #expect(
                asked.subtracting(described).isEmpty,
                "\(where_): the decoder asks for \(asked.subtracting(described).sorted()); describe each with a FieldSchema in the kind's +Schema.swift, then run 'keel docs'"
            )
            #expect(
                described.subtracting(asked).isEmpty,
                "\(where_): \(described.subtracting(asked).sorted()) is described, and no decoder asks for it (or no example in ReferenceTests reaches it)"
            )
        }
    }

    @Test("required fields are those whose absence is refused", arguments: Reference.kinds + Reference.steps)
    func required(schema: KindSchema) async throws {
        let decode = try await Self.decoder(of: schema)
        for field in schema.fields where field.isRequired {
            for example in try #require(Self.examples[schema.name]) {
                let without = JSON.object((example.members ?? []).filter { $0.key != field.name })
                #expect(throws: KeelError.self, "\(schema.name) without \(field.name)") { try decode(without) }
            }
        }
        for example in Self.examples[schema.name] ?? [] where Reference.kinds.contains(schema) {
            #expect(schema.mistakes(in: example).isEmpty)
        }
    }

    @Test("every setting has a sentence, and no sentence is of no setting")
    func settings() {
        let keys = Set(KeelConfiguration.settings.map(\.key))
        let described = Set(KeelConfiguration.about.keys)
        #expect(keys.subtracting(described).isEmpty, "say what \(keys.subtracting(described).sorted()) does in KeelConfiguration.about")
        #expect(described.subtracting(keys).isEmpty, "\(described.subtracting(keys).sorted()) is no setting")
    }

    // MARK: Walking

    private static func decoder(of schema: KindSchema) async throws -> (JSON) throws -> Void {
        if Reference.kinds.contains(schema) {
            return { spec in _ = try ResourceKinds.kind(schema.name).init(resource: Resource(kind: schema.name, name: "x", spec: spec)) }
        }
        let pipelines = try await platform.value.pipelines
        return { with in
            let step: JSON = ["name": "one", "uses": .string(schema.name), "with": with]
            let spec: JSON = ["parameters": ["a": 1, "b": 1], "steps": [step]]
            _ = try pipelines.prepare([try PipelineSpec(resource: Resource(kind: "Pipeline", name: "x", spec: spec))], in: .default)
        }
    }

    /// Kinds of steps are made by the composition root.
    private static let platform = Task {
        let home = NSTemporaryDirectory() + "/reference-\(UUID().uuidString)"
        let configuration = try KeelConfiguration.load(file: nil, environment: [:], overrides: ["home": home])
        return try await Platform(configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Every object of a schema that a decoder checks for unknown fields.
    private static func objects(_ fields: [FieldSchema], _ path: [String]) -> [(path: [String], fields: [FieldSchema])] {
        [(path, fields)]
            + fields.flatMap { field -> [(path: [String], fields: [FieldSchema])] in
                switch field.value {
                case .object(let inner): objects(inner, path + [field.name])
                case .list(.object(let inner)): objects(inner, path + [field.name, "[]"])
                default: []
                }
            }
    }

    /// The document with a field more in the object at a path: one document for each item of a list on the way.
    private static func adding(_ key: String, to json: JSON, at path: [String]) -> [JSON] {
        guard let first = path.first else {
            guard case .object(let members) = json else { return [] }
            return [.object(members + [JSON.Member(key, 1)])]
        }
        let rest = Array(path.dropFirst())
        if first == "[]" {
            guard let items = json.array else { return [] }
            return items.indices.flatMap { i in
                adding(key, to: items[i], at: rest).map { changed in .array(items.enumerated().map { $0 == i ? changed : $1 }) }
            }
        }
        guard let members = json.members, let inner = json[first] else { return [] }
        return adding(key, to: inner, at: rest).map { changed in
            .object(members.map { $0.key == first ? JSON.Member(first, changed) : $0 })
        }
    }
}

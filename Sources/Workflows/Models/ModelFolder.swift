import Contracts
import Registry
import Serving
import Storage

/// The folder of a model that MLflow logged, read as what Keel serves.
struct ModelFolder {
    /// A file by its path in the folder.
    struct File: Sendable {
        let path: String
        let object: StoredObject
    }

    let version: ModelVersion
    let files: [File]
    let facts: ModelFacts

    init(version: ModelVersion, files: [(path: String, object: StoredObject)], facts: ModelFacts) {
        self.version = version
        self.files = files.map { File(path: $0.path, object: $0.object) }
        self.facts = facts
    }

    private func file(_ path: String) -> File? { files.first { $0.path == path } }

    var inputExample: File? { facts.inputExample.flatMap(file) ?? file("input_example.json") }
    /// Keel's own convention: MLflow logs no answer.
    var outputExample: File? { file("output_example.json") }

    /// - Throws: `failedPrecondition` for a model without a signature, or without a flavour that can be served.
    func bundle(runner: ModelBinding.Runner) throws(KeelError) -> ModelBundle {
        let signature = try signature()
        if runner == .auto, let native = native(signature) { return native }
        guard facts.flavors.contains("python_function") else {
            throw KeelError(
                .failedPrecondition, "\(version.uri) has no flavour that can be served: \(facts.flavors.joined(separator: ", "))",
                hint: "log it with a flavour that has python_function, or as ONNX, XGBoost or LightGBM")
        }
        return ModelBundle(
            flavor: .python, files: files.map { ModelBundle.File(path: $0.path, digest: $0.object.digest, bytes: Int($0.object.bytes)) },
            main: "MLmodel", signature: signature)
    }

    /// The model as one that Keel runs itself; nil when its own code must.
    private func native(_ signature: Signature) -> ModelBundle? {
        func setting(_ flavor: String, _ key: String) -> String? { facts.settings[flavor]?[key] }
        /// Whether it is the library's own model, or an estimator of its scikit-learn interface of which `names` are known.
        func kind(_ flavor: String, _ names: [String: (labels: Bool, best: Bool)]) -> (labels: Bool, best: Bool)? {
            guard let name = setting(flavor, "model_class")?.split(separator: ".").last.map(String.init) else { return nil }
            return names[name]
        }
        if facts.flavors.contains("onnx"), let main = setting("onnx", "data").flatMap(file) {
            return bundle(.onnx, main, [], signature)
        }
        if facts.flavors.contains("xgboost"), let main = setting("xgboost", "data").flatMap(file),
            let kind = kind(
                "xgboost",
                [
                    "Booster": (false, false), "XGBRegressor": (false, true), "XGBRanker": (false, true), "XGBClassifier": (true, true),
                    "XGBRFRegressor": (false, false), "XGBRFClassifier": (true, false),
                ])
        {
            return bundle(.xgboost, main, [], signature, labels: kind.labels, best: kind.best)
        }
        // Estimators of LightGBM are pickles: their own code reads them.
        if facts.flavors.contains("lightgbm"), let main = setting("lightgbm", "data").flatMap(file), kind("lightgbm", ["Booster": (false, false)]) != nil {
            return bundle(.lightgbm, main, [], signature)
        }
        return nil
    }

    private func bundle(
        _ flavor: ModelBundle.Flavor, _ main: File, _ beside: [File], _ signature: Signature, labels: Bool = false, best: Bool = false
    ) -> ModelBundle {
        let files = ([main] + beside).map { ModelBundle.File(path: $0.path, digest: $0.object.digest, bytes: Int($0.object.bytes)) }
        return ModelBundle(
            flavor: flavor, files: files, main: main.path, signature: signature, answersLabels: labels, usesBestIteration: best)
    }

    /// The files of these names, of the folder that the main file of a bundle lies in.
    /// - Throws: `failedPrecondition` for one that is not there.
    func files(_ names: [String], beside bundle: ModelBundle) throws(KeelError) -> [ModelBundle.File] {
        var found: [ModelBundle.File] = []
        for name in names {
            guard let file = file(bundle.folder + name) else {
                throw KeelError(
                    .failedPrecondition, "\(version.uri) keeps tensors in '\(name.prefix(200))', which is not among its files",
                    hint: "log it with that file, or in one: save_as_external_data=False")
            }
            found.append(ModelBundle.File(path: file.path, digest: file.object.digest, bytes: Int(file.object.bytes)))
        }
        return found
    }

    // MARK: Signature

    /// The signature in Keel's contract: columns by name, tensors without the axis of the rows.
    private func signature() throws(KeelError) -> Signature {
        guard !facts.inputs.isEmpty else {
            // MLflow sets a signature where a model was logged, not under its registered name.
            let logged = version.modelID.map { "models:/\($0)" } ?? version.source
            throw KeelError(
                .failedPrecondition, "\(version.uri) has no signature: nobody can say what it takes",
                hint: "mlflow.models.set_signature('\(logged)', mlflow.models.infer_signature(X, model.predict(X))); "
                    + "or log it with input_example=X[:5]")
        }
        var inputs: [Signature.Input] = []
        for (i, column) in facts.inputs.enumerated() {
            let name = column.name ?? (facts.inputs.count == 1 ? "input" : "input\(i)")
            guard let type = column.type else {
                throw KeelError(
                    .failedPrecondition, "input '\(name)' of \(version.uri) is \(column.written.prefix(200)), which Keel has no type for",
                    hint: "types are booleans, integers, floats, texts, bytes, instants, lists and tensors of these")
            }
            inputs.append(Signature.Input(name, ModelFolder.row(type), isOptional: !column.isRequired))
        }
        var outputs: [Signature.Output] = []
        for (i, column) in facts.outputs.enumerated() {
            // What has no type here is taken as the model gives it.
            guard let type = column.type else { return Signature(inputs: inputs, outputs: [], params: try params()) }
            outputs.append(Signature.Output(column.name ?? (facts.outputs.count == 1 ? "predictions" : "output\(i)"), ModelFolder.row(type)))
        }
        return Signature(inputs: inputs, outputs: outputs, params: try params())
    }

    private func params() throws(KeelError) -> [Signature.Parameter] {
        var out: [Signature.Parameter] = []
        for parameter in facts.params {
            let type = DataType(mlflow: parameter.type) ?? .string
            out.append(Signature.Parameter(parameter.name, type, standard: (try? JSON.parse(parameter.standard))?.value ?? .null))
        }
        return out
    }

    /// The type of one row: the first axis of a tensor is that of the rows.
    private static func row(_ type: DataType) -> DataType {
        guard case .tensor(let element, let shape) = type else { return type }
        return shape.count < 2 ? element : .tensor(element, shape: Array(shape.dropFirst()))
    }
}

import Contracts
import Foundation
import Testing
import Workers

/// Models as MLflow itself saves them, in a Python that has it.
@Suite("Models of MLflow", .enabled(if: TestPython.isThere, "scripts/bootstrap --tests installs the Python"))
struct MLflowModelTests {
    /// Saves the models of these tests, and what they answer when MLflow calls them itself.
    private static let saved = Task { () throws -> String in
        let folder = try temporaryFolder()
        let script = """
            import sys, json, numpy as np, pandas as pd, mlflow
            from mlflow.models import infer_signature
            from mlflow.types import Schema, TensorSpec
            from sklearn.linear_model import LogisticRegression
            root = sys.argv[1]
            frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1, 0, 1, 0]})
            sk = LogisticRegression().fit(frame, ["x", "x", "y", "y"])
            mlflow.sklearn.save_model(sk, root + "/sklearn", signature=infer_signature(frame, sk.predict(frame)), serialization_format="cloudpickle")
            class Own(mlflow.pyfunc.PythonModel):
                def predict(self, context, model_input, params=None):
                    out = model_input.copy()
                    out["scaled"] = out["a"] * (params or {}).get("by", 1.0)
                    out["text"] = ["é" + str(v) for v in out["b"]]
                    return out
            mlflow.pyfunc.save_model(root + "/own", python_model=Own(), signature=infer_signature(frame, params={"by": 1.0}))
            class Image(mlflow.pyfunc.PythonModel):
                def predict(self, context, model_input, params=None):
                    return model_input["image"].sum(axis=(1, 2)) if isinstance(model_input, dict) else model_input.sum(axis=(1, 2))
            spec = Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2), "image")])
            mlflow.pyfunc.save_model(root + "/image", python_model=Image(), signature=mlflow.models.ModelSignature(inputs=spec))
            one = Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))])
            mlflow.pyfunc.save_model(root + "/unnamed", python_model=Image(), signature=mlflow.models.ModelSignature(inputs=one))
            """
        try await answer(of: TestPython.path, ["-W", "ignore", "-c", script, folder], in: folder)
        return folder
    }

    private func pool(_ name: String) async throws -> WorkerPool {
        let home = try temporaryFolder() + "/home"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        let source = "\(try await Self.saved.value)/\(name)"
        var files: [String: Digest] = [:]
        var places: [Digest: String] = [:]
        for path in try FileManager.default.subpathsOfDirectory(atPath: source) {
            guard let bytes = FileManager.default.contents(atPath: "\(source)/\(path)") else { continue }
            files[path] = Digest(of: bytes)
            places[Digest(of: bytes)] = "\(source)/\(path)"
        }
        let folder = try MaterialisedFolder.make(files, in: home + "/models") { digest, part in
            try part(Array(FileManager.default.contents(atPath: places[digest] ?? "") ?? Data()))
        }
        let spec = WorkerSpec(.pyfunc, folder: folder, environment: try await TestPython.real.value)
        let isolation = try await ProgramIsolation.choose(
            .auto, user: nil, folders: .init(home: home, project: home, work: home + "/workers"), view: .only)
        let pool = try WorkerPool(spec, folder: home + "/workers/p", isolation: isolation)
        try await pool.start()
        return pool
    }

    @Test("a model of scikit-learn answers as MLflow does, and refuses what its signature refuses")
    func sklearn() async throws {
        let pool = try await pool("sklearn")
        let input = try table(["a": Column(.float64, .float64([0, 3])), "b": Column(.int64, .int64([1, 0]))])
        let answer = try await pool.ask(input)
        #expect(answer["predictions"].map { column in (0..<column.count).map { column[$0] } } == ["x", "y"])
        let error = try await #require(throws: KeelError.self) { try await pool.ask(try table(["a": Column(.float64, .float64([0]))])) }
        #expect(error.code == .invalidArgument && error.message.contains("missing inputs ['b']"), "\(error)")
        await pool.stop()
    }

    @Test("a model of one's own takes parameters and gives columns")
    func own() async throws {
        let pool = try await pool("own")
        let input = try table(["a": Column(.float64, .float64([1, 2])), "b": Column(.int64, .int64([1, 2]))])
        let answer = try await pool.ask(input, params: ["by": 10.0])
        #expect(answer.names == ["a", "b", "scaled", "text"])
        #expect(answer["scaled"]?.buffer == .float64([10, 20]) && answer["text"]?[1] == "é2")
        await pool.stop()
    }

    @Test("a signature of tensors gets arrays", arguments: ["image", "unnamed"])
    func tensors(name: String) async throws {
        let pool = try await pool(name)
        let image = try Column(.tensor(.float32, shape: [2, 2]), values: [.list([1, 2, 3, 4]), .list([5, 5, 5, 5])])
        let answer = try await pool.ask(try table(["image": image]))
        #expect(answer["predictions"]?.buffer == .float32([10, 20]))
        await pool.stop()
    }
}

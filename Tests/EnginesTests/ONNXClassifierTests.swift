import Contracts
import Engines
import Foundation
import TestSupport
import Testing

@Suite("ONNX models of scikit-learn's classifiers") struct ONNXClassifierTests {
    private typealias Models = ONNXTestModels

    @Test("a pipeline with texts and ZipMap answers as ONNX Runtime's own package")
    func classifier() throws {
        let model = try ONNXModel(bytes: Models.textClasses)
        #expect(
            model.inputFields == [
                Field("city", .string), Field("age", .float32, nullable: true), Field("income", .float32, nullable: true),
            ])
        #expect(model.outputFields.map(\.name) == ["output_label", "output_probability"])
        #expect(model.outputFields[1].type == .tensor(.float32, shape: [3]))
        #expect(model.outputs.map(\.labels) == [nil, ["maybe", "no", "yes"]])
        let answer = try model.run(people, until: soon)
        #expect(answer["output_label"] == (try Column(.string, values: Models.textLabels)))
        #expect(answer["output_probability"]?.type == .tensor(.float32, shape: [3]))
        #expect(isNear(floats(in: answer["output_probability"]), Models.textProbabilities))

        let plain = try ONNXModel(bytes: Models.textClassesAsTensor).run(people, until: soon)
        #expect(plain["label"] == answer["output_label"])
        #expect(plain["probabilities"] == answer["output_probability"], "with and without ZipMap")
        // One row gives what it gives among others.
        for row in 0..<5 {
            let one = try model.run(people.taking(rows: [row]), until: soon)
            let same = answer.taking(rows: [row])
            #expect(one["output_label"] == same["output_label"])
            #expect(isNear(floats(in: one["output_probability"]), floats(in: same["output_probability"])))
        }
    }

    @Test("classes that are integers are labels too")
    func integerClasses() throws {
        let model = try ONNXModel(bytes: Models.integerClasses)
        #expect(model.outputs[1].labels == ["-2", "7", "100"])
        let answer = try model.run(people, until: soon)
        #expect(answer.columns[0] == Column(.int64, .int64(Models.integerLabels)))
        #expect(isNear(floats(in: answer.columns[1]), Models.integerProbabilities))
    }

    @Test("the probabilities of ZipMap stand in the order of its labels, not of its maps")
    func unsortedClasses() throws {
        let model = try ONNXModel(bytes: Models.unsortedClasses)
        #expect(model.outputs[0].labels == ["b", "a", "c"])
        let answer = try model.run(Table([("x", tensors(.float32, [3], .float32([1, 2, 3, 4, 5, 6])))]), until: soon)
        #expect(floats(in: answer["z"]) == [1, 2, 3, 4, 5, 6])
    }

    @Test("threads share a model, each with its own table")
    func threads() async throws {
        let model = try ONNXModel(bytes: Models.textClasses)
        let everybody = try people
        let whole = try model.run(everybody, until: soon)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for i in 0..<16 {
                group.addTask {
                    for _ in 0..<50 {
                        let one = try model.run(everybody.taking(rows: [i % 5]), until: soon)
                        #expect(one["output_label"] == whole.taking(rows: [i % 5])["output_label"])
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}

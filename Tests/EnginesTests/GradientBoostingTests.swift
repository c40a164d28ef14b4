import Contracts
import Engines
import TestSupport
import Testing

/// Rows whose labels depend on the features, a tenth of the values missing.
func examples(rows: Int, columns: Int, classes: Int = 2, seed: UInt64) throws -> XGBoost.Examples {
    var random = Seeded(seed)
    var values: [Float] = []
    var labels: [Float] = []
    for _ in 0..<rows {
        let row = (0..<columns).map { _ in
            Int.random(in: 0..<10, using: &random) == 0 ? Float.nan : Float.random(in: -3...3, using: &random)
        }
        let score = (row[0].isNaN ? 1 : row[0]) + (row[1].isNaN ? 0 : row[1] * row[1]) + Float.random(in: -1...1, using: &random)
        labels.append(Float(min(classes - 1, max(0, Int(score)))))
        values += row
    }
    return XGBoost.Examples(matrix: try FloatMatrix(rowCount: rows, columnCount: columns, values: values), labels: labels)
}

@Suite struct GradientBoostingTests {
    private let logistic = ["objective": "binary:logistic", "max_depth": "6", "eta": "0.3", "seed": "7"]

    @Test(arguments: [
        ("binary:logistic", 2, [1, 11, 2013] as [UInt64]), ("reg:squarederror", 9, [2, 12]), ("count:poisson", 9, [3]),
        ("multi:softprob", 4, [4, 14]),
        ("multi:softmax", 3, [5]), ("binary:logitraw", 2, [6]),
    ])
    func ourEvaluatorGivesXGBoostsOwnPredictions(objective: String, classes: Int, seeds: [UInt64]) throws {
        for seed in seeds {
            let training = try examples(rows: 600, columns: 5, classes: classes, seed: seed)
            var parameters = [
                "objective": objective, "max_depth": String(seed % 7 + 2), "eta": "0.2", "subsample": "0.8", "seed": String(seed),
            ]
            if objective.hasPrefix("multi") { parameters["num_class"] = String(classes) }
            let bytes = try XGBoost.train(training, parameters: parameters, rounds: 23)
            let unseen = try examples(rows: 400, columns: 5, seed: seed + 1000).matrix
            let expected = try XGBoostModel(bytes: bytes).predict(unseen)
            let ours = try TreeEnsemble(xgboost: bytes)
            #expect(ours.outputCount == (objective == "multi:softprob" ? classes : 1))
            let differing = zip(try ours.predict(unseen), expected).filter { $0 != $1 }
            #expect(differing.isEmpty, "\(objective), seed \(seed): \(differing.count) differ")
        }
    }

    @Test func trainingIsReproducibleAndReportsItsRounds() throws {
        let training = try examples(rows: 500, columns: 4, seed: 1)
        let held = try examples(rows: 200, columns: 4, seed: 2)
        var rounds: [XGBoost.Round] = []
        let names = ["distance", "delay", "hour", "month"]
        let first = try XGBoost.train(training, validation: held, featureNames: names, parameters: logistic, rounds: 12) {
            rounds.append($0)
        }
        #expect(rounds.map(\.index) == Array(0..<12))
        let losses = try rounds.map { try #require($0.metrics["validation-logloss"]) }
        #expect(losses[11] < losses[0])
        #expect(rounds[0].metrics["train-logloss"] != nil)
        #expect(try XGBoost.train(training, validation: held, featureNames: names, parameters: logistic, rounds: 12) == first)
        #expect(try TreeEnsemble(xgboost: first).featureNames == names)
        let gains = try XGBoostModel(bytes: first).gains()
        #expect(Set(gains.prefix(2).map(\.feature)) == ["distance", "delay"])
        #expect(gains.map(\.gain) == gains.map(\.gain).sorted(by: >))
    }

    @Test func weightsCount() throws {
        var training = try examples(rows: 400, columns: 3, seed: 5)
        let plain = try XGBoost.train(training, parameters: logistic, rounds: 3)
        training.weights = training.labels.map { $0 == 1 ? 10 : 0.1 }
        #expect(try XGBoost.train(training, parameters: logistic, rounds: 3) != plain)
    }

    @Test func contributionsAddUpToTheMargin() throws {
        let training = try examples(rows: 300, columns: 4, seed: 8)
        let model = try XGBoostModel(bytes: XGBoost.train(training, parameters: logistic, rounds: 10))
        let margins = try model.margins(training.matrix)
        let contributions = try model.contributions(training.matrix)
        #expect(contributions.count == 300 * 5)
        for row in 0..<300 {
            #expect(abs(contributions[row * 5..<row * 5 + 5].reduce(0, +) - margins[row]) < 1e-4)
        }
    }

    @Test func wrongSettingsAndDataAreClearErrors() throws {
        let training = try examples(rows: 50, columns: 3, seed: 3)
        let unknown = #expect(throws: KeelError.self) { try XGBoost.train(training, parameters: ["max_detph": "3"], rounds: 1) }
        #expect(unknown?.message.contains("max_detph") == true)
        let range = #expect(throws: KeelError.self) { try XGBoost.train(training, parameters: ["objective": "no:such"], rounds: 1) }
        #expect(range?.message.contains("no:such") == true)
        #expect(range?.message.contains("Stack trace") == false)
        var labels = training
        labels.labels.removeLast()
        #expect(throws: KeelError.self) { try XGBoost.train(labels, parameters: [:], rounds: 1) }
        labels.labels = training.labels.map { _ in 7 }
        #expect(throws: KeelError.self) { try XGBoost.train(labels, parameters: self.logistic, rounds: 1) }
        let stopped = #expect(throws: KeelError.self) {
            try XGBoost.train(training, parameters: self.logistic, rounds: 5, shouldStop: { true })
        }
        #expect(stopped?.code == .cancelled)
        let model = try TreeEnsemble(xgboost: XGBoost.train(training, parameters: logistic, rounds: 1))
        #expect(throws: KeelError.self) { try [Float](repeating: 0, count: 2).withUnsafeBufferPointer { try model.predict($0) } }
    }

    @Test func rowsAndBatchesAgreeAndExtremesAreServed() throws {
        let training = try examples(rows: 300, columns: 3, seed: 21)
        let model = try TreeEnsemble(xgboost: XGBoost.train(training, parameters: logistic, rounds: 9))
        let batch = try model.predict(training.matrix)
        for row in 0..<300 {
            let single = try Array(training.matrix.values[row * 3..<row * 3 + 3]).withUnsafeBufferPointer { try model.predict($0) }
            #expect(single == batch[row])
        }
        for extreme: Float in [.infinity, -.infinity, .nan, 0, -0.0, .greatestFiniteMagnitude] {
            let single = try [extreme, extreme, extreme].withUnsafeBufferPointer { try model.predict($0) }
            #expect(single > 0 && single < 1)
        }
    }

    /// One tree whose every level has one leaf: a chain.
    private func chain(levels: Int) -> [UInt8] {
        let count = 2 * levels + 1
        func list(_ value: (Int) -> String) -> String { (0..<count).map(value).joined(separator: ",") }
        // Node 2k leads to the leaf 2k + 1 and to node 2k + 2.
        func isInner(_ i: Int) -> Bool { i % 2 == 0 && i < count - 1 }
        return Array(
            """
            {"learner":{"feature_names":[],"gradient_booster":{"name":"gbtree","model":{"tree_info":[0],"trees":[{
            "left_children":[\(list { isInner($0) ? "\($0 + 1)" : "-1" })],"right_children":[\(list { isInner($0) ? "\($0 + 2)" : "-1" })],
            "parents":[\(list { $0 == 0 ? "2147483647" : "\(($0 - 1) / 2 * 2)" })],"split_indices":[\(list { _ in "0" })],
            "split_conditions":[\(list { isInner($0) ? "0.5" : "1" })],"default_left":[\(list { _ in "0" })],"split_type":[\(list { _ in "0" })],
            "tree_param":{"size_leaf_vector":"1"}}]}},"learner_model_param":{"base_score":"0","num_class":"0","num_feature":"1"},
            "objective":{"name":"reg:squarederror"}}}
            """.utf8)
    }

    @Test("S7: a tree has a bounded depth, and a model says what a row costs")
    func deepTreesAreRefused() throws {
        let model = try TreeEnsemble(xgboost: chain(levels: 200))
        #expect(model.stepsPerRow == 200)
        #expect(try [Float]([1]).withUnsafeBufferPointer { try model.predict($0) } == 1)
        for levels in [257, 20_000] {
            let error = #expect(throws: KeelError.self) { try TreeEnsemble(xgboost: chain(levels: levels)) }
            #expect(error?.code == .invalidArgument && error?.message.contains("256 levels") == true)
        }
    }

    @Test func aTableBecomesAMatrix() throws {
        let table = try Table([
            ("a", Column(.int64, values: [1, nil])), ("b", Column(.bool, values: [true, false])),
            ("s", Column(.string, values: ["x", "y"])),
        ])
        let matrix = try FloatMatrix(table, columns: ["b", "a"])
        #expect(matrix.values[..<3] == [1, 1, 0])
        #expect(matrix.values[3].isNaN)
        #expect(throws: KeelError.self) { try FloatMatrix(table, columns: ["s"]) }
    }

    /// Whatever is done to a model's bytes, loading either says no or gives a model that predicts without leaving its memory.
    @Test func damagedModelsAreRefusedOrHarmless() throws {
        let training = try examples(rows: 120, columns: 3, seed: 9)
        let bytes = try XGBoost.train(training, parameters: ["objective": "binary:logistic", "max_depth": "3", "seed": "1"], rounds: 2)
        for length in stride(from: 0, to: bytes.count - 1, by: max(1, bytes.count / 400)) {
            let error = #expect(throws: KeelError.self) { try TreeEnsemble(xgboost: Array(bytes[..<length])) }
            #expect(error?.code == .corrupted)
            #expect(throws: KeelError.self) { try XGBoostModel(bytes: Array(bytes[..<length])) }
        }
        var random = Seeded(99)
        var refused = 0
        for _ in 0..<1500 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                // Digits become other digits often: that is the damage a parser does not see.
                damaged[at] =
                    (48...57).contains(damaged[at])
                    ? UInt8.random(in: 48...57, using: &random) : damaged[at] ^ (1 << UInt8.random(in: 0..<8, using: &random))
            }
            do throws(KeelError) {
                let model = try TreeEnsemble(xgboost: damaged)
                let rows = try FloatMatrix(
                    rowCount: 2, columnCount: model.featureCount,
                    values: [Float](repeating: 1, count: model.featureCount) + [Float](repeating: .nan, count: model.featureCount))
                _ = try model.predict(rows)
            } catch {
                #expect(error.code == .corrupted || error.code == .invalidArgument)
                refused += 1
            }
        }
        #expect(refused > 100)
        #expect(throws: KeelError.self) { try TreeEnsemble(xgboost: Array("{}".utf8)) }
        #expect(throws: KeelError.self) { try TreeEnsemble(xgboost: Array("[1]".utf8)) }
    }
}

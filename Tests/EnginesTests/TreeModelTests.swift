import Contracts
import Engines
import Foundation
import Testing

/// Saved models of several versions of both libraries, with their answers (Tests/Corpora/trees/saved).
@Suite("Trees: saved models")
struct TreeModelTests {
    static func saved() throws -> [TrainedTreeModel] { try TrainedTreeModel.read(TrainedTreeModel.corpora.appending(path: "saved")) }

    static func saved(_ name: String) throws -> TrainedTreeModel { try #require(try saved().first { $0.name == name }) }

    @Test("models of XGBoost 1.3 to 3.2 and LightGBM 2.3 to 4.7 predict what these predicted")
    func versions() throws {
        let models = try Self.saved()
        #expect(models.count == 17)
        for model in models {
            let trees = try model.load()
            #expect(trees.library == model.library && trees.featureCount == model.featureCount && trees.outputCount == model.outputCount)
            #expect("\(trees.output)" == model.output && trees.classCount == model.classCount)
            let predictions = try trees.predict(rows: model.rows)
            #expect(model.agrees(predictions), "\(model.name)")
            #expect(Set(predictions).count > 2)
        }
    }

    @Test("a model says what it is")
    func facts() throws {
        let best = try Self.saved("xgboost-best-iteration-ubj")
        let all = try TreeEnsemble(xgboost: best.bytes)
        let early = try best.load()
        #expect(all.bestIteration == early.bestIteration && all.bestIteration != nil)
        #expect(early.treeCount < all.treeCount)
        #expect(try early.predict(rows: best.rows) != all.predict(rows: best.rows))
        let classes = try Self.saved("lightgbm-classes").load()
        #expect(classes.objective.hasPrefix("multiclass num_class:") && classes.classCount == classes.outputCount)
        #expect(classes.featureNames.count == classes.featureCount && classes.bestIteration == nil)
        let linear = try Self.saved("xgboost-linear-json").load()
        #expect(linear.treeCount == 0 && linear.stepsPerRow == linear.featureCount * linear.outputCount)
    }

    @Test("rows and answers must fit")
    func shapes() throws {
        let model = try Self.saved("lightgbm-classes").load()
        #expect(try model.predict(rows: [Double]()) == [])
        let odd = #expect(throws: KeelError.self) { try model.predict(rows: [Double](repeating: 0, count: model.featureCount + 1)) }
        #expect(odd?.code == .invalidArgument && odd?.message.contains("\(model.featureCount) features") == true)
        #expect(throws: KeelError.self) {
            try [Float](repeating: 0, count: model.featureCount).withUnsafeBufferPointer { try model.predict($0) }
        }
    }

    @Test("what is not supported is refused by its name, and what is no model says how to save one")
    func refusals() throws {
        func refusal(_ bytes: [UInt8], lightgbm: Bool = false) -> String {
            do throws(KeelError) {
                _ = try lightgbm ? TreeEnsemble(lightgbm: bytes) : TreeEnsemble(xgboost: bytes)
                return "accepted"
            } catch { return "\(error.code): \(error)" }
        }
        func replacing(_ model: String, _ old: String, _ new: String) throws -> [UInt8] {
            let text = String(decoding: try Self.saved(model).bytes, as: UTF8.self)
            #expect(text.contains(old))
            return Array(text.replacingOccurrences(of: old, with: new).utf8)
        }
        let binary = Array("binf".utf8) + [0, 0, 0, 0x3f, 4, 0, 0, 0]
        #expect(refusal(binary).contains("booster.save_model('model.ubj')"))
        #expect(refusal([]) == "corrupted: the model is empty")
        #expect(refusal(try Self.saved("lightgbm-2.3").bytes).contains("not in XGBoost's JSON or UBJ format"))
        #expect(refusal(try Self.saved("xgboost-1.3-json").bytes, lightgbm: true).contains("booster.save_model('model.txt')"))
        #expect(refusal(Array("pickle".utf8), lightgbm: true).contains("does not begin with the line 'tree'"))
        let custom = refusal(try replacing("xgboost-1.3-json", "binary:logistic", "my:objective"))
        #expect(custom.hasPrefix("invalidArgument") && custom.contains("'my:objective'"))
        #expect(refusal(try replacing("xgboost-1.3-json", "\"name\":\"gbtree\"", "\"name\":\"forest\"")).contains("booster 'forest'"))
        let objective = refusal(try replacing("lightgbm-2.3", "objective=binary", "objective=newest"), lightgbm: true)
        #expect(objective.hasPrefix("invalidArgument") && objective.contains("'newest'"))
        let leaf = refusal(try replacing("lightgbm-2.3", "leaf_value=", "leaf_value=x"), lightgbm: true)
        #expect(leaf.hasPrefix("corrupted") && leaf.contains("line ") && leaf.contains("leaf_value: 'x"))
        let cut = refusal(Array(try Self.saved("lightgbm-classes").bytes.prefix(1500)), lightgbm: true)
        #expect(cut.hasPrefix("corrupted") && cut.contains("line "))
    }

    @Test("a few bytes cannot ask for much memory")
    func bombs() throws {
        func refusal(_ bytes: [UInt8]) -> KeelError? {
            do throws(KeelError) {
                _ = try TreeEnsemble(xgboost: bytes)
                return nil
            } catch { return error }
        }
        let length: [UInt8] = [UInt8(ascii: "L"), 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        func text(_ value: String) -> [UInt8] { [UInt8(ascii: "i"), UInt8(value.utf8.count)] + Array(value.utf8) }
        for value: [UInt8] in [
            Array("[#".utf8) + length, Array("[$d#".utf8) + length, Array("[$T#".utf8) + length, Array("[$Z#".utf8) + length,
            Array("S".utf8) + length,
            Array("{#".utf8) + length, [UInt8](repeating: UInt8(ascii: "["), count: 100_000),
        ] {
            for key in ["trees", "weights", "tree_info", "unknown"] {
                let model: [UInt8] =
                    Array("{".utf8) + text("learner") + Array("{".utf8) + text("gradient_booster") + Array("{".utf8) + text("model")
                    + Array("{".utf8) + text(key) + value
                #expect(refusal(model)?.code == .corrupted)
            }
        }
        #expect(
            refusal(Array(#"{"learner":{"unknown":"#.utf8) + [UInt8](repeating: UInt8(ascii: "["), count: 1_000_000))?.code == .corrupted)
        let shared = String(decoding: try Self.saved("lightgbm-categories").bytes, as: UTF8.self)
        let sets = try #require(shared.split(separator: "\n").first { $0.hasPrefix("cat_boundaries=0 ") })
        let overlapping = shared.replacingOccurrences(of: sets, with: sets.replacingOccurrences(of: "=0 ", with: "=9 "))
        #expect(throws: KeelError.self) { try TreeEnsemble(lightgbm: Array(overlapping.utf8)) }
        let vectors = String(decoding: try Self.saved("xgboost-1.3-json").bytes, as: UTF8.self)
            .replacingOccurrences(of: "\"num_target\":\"1\"", with: "")
            .replacingOccurrences(of: "\"size_leaf_vector\":\"0\"", with: "\"size_leaf_vector\":\"1000000000\"")
        #expect(refusal(Array(vectors.utf8))?.message.contains("too few values for its leaves") == true)
        let classes = String(decoding: try Self.saved("xgboost-1.3-json").bytes, as: UTF8.self)
            .replacingOccurrences(of: "\"num_class\":\"0\"", with: "\"num_class\":\"1000000000\"")
            .replacingOccurrences(of: "binary:logistic", with: "multi:softprob")
        #expect(refusal(Array(classes.utf8))?.message.contains("1000000000 outputs") == true)
    }
}

import Contracts

/// A model as LightGBM saves it in text: only what prediction needs, read but not yet checked.
///
/// Lines of `key=value`: first those of the model, then for each tree a line `Tree=0` and its own, then the line `end of trees`. What follows
/// (importances, training parameters) is not read.
struct LightGBMDocument {
    var featureNames: [String] = []
    /// With its parameters: `binary sigmoid:1`. Empty for an objective of the user's own.
    var objective = ""
    var classCount = 1
    var treesPerIteration = 1
    var featureCount = 0
    /// A random forest: predictions are the average over the iterations.
    var averagesOutput = false
    var trees: [LightGBMTree] = []

    /// - Throws: `corrupted` for bytes that are not a whole model, naming the line; `invalidArgument` for LightGBM's JSON.
    init(_ bytes: [UInt8]) throws(KeelError) {
        if bytes.first == UInt8(ascii: "{") {
            throw .invalid("the model is JSON, not LightGBM's text", hint: "save it with booster.save_model('model.txt')")
        }
        let read: Result<LightGBMDocument, KeelError> = bytes.withUnsafeBufferPointer { buffer in
            do throws(KeelError) { return .success(try LightGBMDocument(lines: LightGBMLines(buffer))) } catch { return .failure(error) }
        }
        self = try read.get()
    }

    private init(lines source: LightGBMLines) throws(KeelError) {
        var lines = source
        guard let first = lines.next(), first.key == "tree", first.value == nil else {
            throw KeelError(
                .corrupted, "the model is not a LightGBM model in text: it does not begin with the line 'tree'",
                hint: "save it with booster.save_model('model.txt')")
        }
        var expectedTrees: Int?
        var isWhole = false
        while let line = lines.next() {
            switch line.key {
            case "num_class": classCount = try lines.count(line)
            case "num_tree_per_iteration": treesPerIteration = try lines.count(line)
            case "max_feature_idx": featureCount = try lines.count(line) + 1
            case "objective": objective = try lines.text(line)
            case "average_output": averagesOutput = true
            case "feature_names": featureNames = try lines.text(line).split(separator: " ").map(String.init)
            case "tree_sizes": expectedTrees = try lines.wholeNumbers(line).count
            case "Tree":
                guard try lines.count(line) == trees.count else { throw lines.failure("tree \(trees.count) should follow") }
                trees.append(try LightGBMTree(&lines, number: trees.count))
            case "end of trees", "feature importances:", "feature_importances:": isWhole = true
            default: break
            }
            if isWhole { break }
        }
        guard isWhole else { throw lines.failure("the file ends within its trees") }
        guard expectedTrees == nil || expectedTrees == trees.count else {
            throw lines.failure("there are \(trees.count) trees of \(expectedTrees ?? 0)")
        }
    }
}

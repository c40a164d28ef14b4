import Contracts

extension LoadedEnsemble {
    /// Checks a document and lays its model out.
    ///
    /// - Throws: `corrupted` for what does not hold together, `invalidArgument` for what is not supported.
    init(_ document: LightGBMDocument) throws(KeelError) {
        let objective = try LightGBMObjective(document.objective)
        guard document.featureCount > 0, !document.trees.isEmpty else { throw ModelDamage.error("it has no features or no trees") }
        guard document.featureNames.isEmpty || document.featureNames.count == document.featureCount else {
            throw ModelDamage.error("\(document.featureCount) features have \(document.featureNames.count) names")
        }
        let groupCount = document.treesPerIteration
        guard groupCount > 0, document.trees.count.isMultiple(of: groupCount) else {
            throw ModelDamage.error("\(document.trees.count) trees are no whole iterations of \(groupCount)")
        }
        guard objective.isMultiClass || groupCount == 1 || document.objective.isEmpty else {
            throw ModelDamage.error("\(groupCount) trees an iteration do not fit objective \(document.objective.prefix(40))")
        }
        let iterationCount = document.trees.count / groupCount
        var builder = ForestBuilder<Double>(
            featureCount: document.featureCount, baseMargins: Array(repeating: 0, count: groupCount),
            divisor: document.averagesOutput ? Double(iterationCount) : 1, readsAsLightGBM: true)
        for (i, tree) in document.trees.enumerated() { try builder.add(tree, output: i % groupCount) }
        evaluator = .double(ForestEvaluator(try builder.finish(), transform: objective.transform))
        self.objective = document.objective
        output = objective.output
        classCount = objective.isMultiClass ? groupCount : objective.isBinary ? 2 : nil
        featureNames = document.featureNames
        featureCount = document.featureCount
        treeCount = document.trees.count
        bestIteration = nil
    }
}

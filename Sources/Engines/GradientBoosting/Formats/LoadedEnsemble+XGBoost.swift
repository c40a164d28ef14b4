import Contracts

extension LoadedEnsemble {
    /// Checks a document and lays its model out.
    ///
    /// - Throws: `corrupted` for what does not hold together, `invalidArgument` for what is not supported.
    init(_ document: consuming XGBoostDocument, iterations: TreeEnsemble.Iterations) throws(KeelError) {
        let objective = try XGBoostObjective(document.objective)
        let groupCount = try document.groupCount(objective)
        guard document.featureCount > 0 else { throw ModelDamage.error("it has no features") }
        guard document.featureNames.isEmpty || document.featureNames.count == document.featureCount else {
            throw ModelDamage.error("\(document.featureCount) features have \(document.featureNames.count) names")
        }
        let baseMargins = try document.baseMargins(objective, count: groupCount)
        self.objective = document.objective
        output = objective.output
        classCount = objective.isMultiClass ? groupCount : document.objective.hasPrefix("binary:") ? 2 : nil
        featureNames = document.featureNames
        featureCount = document.featureCount
        bestIteration = try document.bestIteration()
        switch document.booster {
        case "gbtree", "dart":
            let kept = try document.keptTrees(iterations, bestIteration, groupCount: groupCount)
            let forest = try document.forest(baseMargins, trees: kept)
            treeCount = kept
            evaluator = .float(ForestEvaluator(forest, transform: objective.transform))
        case "gblinear":
            treeCount = 0
            // XGBoost's linear booster begins every output with the base score of the first.
            let base = Array(repeating: baseMargins[0], count: groupCount)
            evaluator = .linear(
                try LinearEvaluator(
                    weights: document.linearWeights, featureCount: document.featureCount, baseMargins: base,
                    transform: objective.transform))
        case "": throw ModelDamage.error("it has no booster")
        default: throw ModelDamage.unsupported("booster '\(document.booster.prefix(40))'")
        }
    }
}

extension XGBoostDocument {
    /// Classes or targets: a margin for each.
    fileprivate func groupCount(_ objective: XGBoostObjective) throws(KeelError) -> Int {
        guard classCount <= 1 || targetCount <= 1 else { throw ModelDamage.unsupported("several classes and several targets") }
        let count = max(1, classCount, targetCount)
        // What a file says in a few digits takes memory for each row: there is a tree or a weight for each output.
        guard count <= max(1, trees.count * (trees.first?.leafWidth ?? 1), linearWeights.count) else {
            throw ModelDamage.error("\(count) outputs do not fit \(trees.count) trees")
        }
        guard classCount <= 1 || objective.isMultiClass else {
            throw ModelDamage.error("\(classCount) classes do not fit objective \(self.objective)")
        }
        return count
    }

    fileprivate func baseMargins(_ objective: XGBoostObjective, count: Int) throws(KeelError) -> [Float] {
        guard baseScores.count == 1 || baseScores.count == count else {
            throw ModelDamage.error("it has \(baseScores.count) base scores for \(count) outputs")
        }
        var margins: [Float] = []
        for score in baseScores.count == 1 ? Array(repeating: baseScores[0], count: count) : baseScores {
            let margin = objective.baseMargin(score)
            guard margin.isFinite else { throw ModelDamage.error("base score \(score) is not possible") }
            margins.append(margin)
        }
        return margins
    }

    /// Where early stopping found the best score, if the model was trained with it.
    fileprivate func bestIteration() throws(KeelError) -> Int? {
        guard let text = attributes["best_iteration"] else { return nil }
        guard let iteration = Int(text), iteration >= 0, iteration < 1 << 30 else {
            throw ModelDamage.error("best_iteration is '\(text.prefix(40))'")
        }
        return iteration
    }

    /// How many trees, from the first one, predict.
    fileprivate func keptTrees(_ iterations: TreeEnsemble.Iterations, _ best: Int?, groupCount: Int) throws(KeelError) -> Int {
        guard iterations == .best, let best else { return trees.count }
        let perIteration = max(1, parallelTreeCount) * ((trees.first?.leafWidth ?? 1) > 1 ? 1 : groupCount)
        let (end, overflow) = (best + 1).multipliedReportingOverflow(by: perIteration)
        let kept = iterationStarts.count > best + 1 ? Int(iterationStarts[best + 1]) : overflow ? -1 : end
        guard (0...trees.count).contains(kept) else { throw ModelDamage.error("best_iteration \(best) is beyond its \(trees.count) trees") }
        return kept
    }

    fileprivate consuming func forest(_ baseMargins: [Float], trees kept: Int) throws(KeelError) -> Forest<Float> {
        guard treeGroups.count == trees.count else { throw ModelDamage.error("tree_info does not have one entry a tree") }
        guard booster != "dart" || treeWeights?.count == trees.count else {
            throw ModelDamage.error("weight_drop does not have one entry a tree")
        }
        let leafWidth = trees.first?.leafWidth ?? 1
        guard leafWidth == 1 || leafWidth == baseMargins.count, trees.allSatisfy({ $0.leafWidth == leafWidth }) else {
            throw ModelDamage.error("leaves have \(leafWidth) values for \(baseMargins.count) outputs")
        }
        var builder = ForestBuilder<Float>(featureCount: featureCount, baseMargins: baseMargins, leafWidth: leafWidth)
        for i in 0..<trees.count {
            if booster == "dart", let treeWeights { trees[i].weight = treeWeights[i] }
            // Trees past the best iteration are checked as well, so that a model is damaged or whole however it is loaded.
            try builder.add(trees[i], output: Int(treeGroups[i]), isKept: i < kept)
        }
        return try builder.finish()
    }
}

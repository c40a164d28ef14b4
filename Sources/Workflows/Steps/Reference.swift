import Contracts
import Pipelines
import Serving

/// What can be declared, described for people and tools.
public enum Reference {
    public static let kinds = ResourceKinds.schemas

    /// Kinds of steps: what `uses` names and `with` holds.
    public static let steps: [KindSchema] = [
        trainingSet, gradientBoosting, evaluate, gate, register, release, ShellStep.schema, PythonStep.schema,
    ]

    private static let trainingSet = KindSchema(
        "training-set",
        """
        Joins labels with the features of a service as they were known at each label's instant, or takes columns as they are, and holds a share of the
        examples out. Outputs: `train` and `holdout`. More in [training sets](../training-sets.md).
        """,
        [
            FieldSchema("labels", .text, required: true, "The dataset whose rows are the examples."),
            FieldSchema("label", .expression, required: true, "The truth, over columns of `labels`."),
            FieldSchema(
                "at", .text, default: "the service's, else the dataset's eventTime", "The column that says as of when features are read."),
            FieldSchema("known", .text, "The column that says when the label itself became known; later ones than the end are left out."),
            FieldSchema(
                "features", .texts, default: "the columns that say nothing of the label",
                "The name of a feature service, or a list of columns of `labels`."),
            FieldSchema("between", .texts, "`[from, until]`: instants, or `now`."),
            FieldSchema(
                "split", .word(TrainingSplit.Kind.allCases.map(\.rawValue)), default: "time, when there is one",
                "Which examples are held out: the last in time, some by chance, the same share of each label, or whole groups."),
            FieldSchema("holdout", .share, default: "15%", "The share of examples that is held out."),
            FieldSchema("groupBy", .text, "With `split: grouped`: the column whose values stay together."),
            FieldSchema("seed", .integer, default: "0", "Of the split, but for `time`."),
            FieldSchema("keep", .texts, "Further columns of `labels` to carry along."),
            FieldSchema("shuffleLabels", .integer, "A seed: shuffles the labels, to see that a gate refuses what has learnt nothing."),
        ])

    private static let gradientBoosting = KindSchema(
        "gradient-boosting",
        "XGBoost on a training set. Outputs: `candidate`, trained on the training rows alone, and `model`, on all rows when `refit` is true.",
        [
            FieldSchema("data", .any, required: true, "The outputs of a `training-set`."),
            FieldSchema("trees", .integer, default: "100", "1 to 10,000."), FieldSchema("depth", .integer, default: "6", "1 to 16."),
            FieldSchema("rate", .number, default: "0.1", "The learning rate, above 0 and at most 1."),
            FieldSchema("refit", .flag, default: "false", "Whether `model` is trained on the holdout rows too."),
            FieldSchema("seed", .integer, default: "0", "Of its random numbers."),
        ])

    private static let evaluate = KindSchema(
        "evaluate",
        "Scores a model, and a baseline, on the same rows. Outputs: numbers that a gate can name, such as `auc`, `baseline.auc`, `slices.carrier.auc.min`.",
        [
            FieldSchema("model", .any, required: true, "A model, such as `$train.candidate`."),
            FieldSchema("data", .any, required: true, "The rows, such as `$examples.holdout`."),
            FieldSchema("metrics", .texts, default: "all", "Of `auc`, `logloss`, `brier`, `calibration`, `accuracy`."),
            FieldSchema("slices", .texts, "Columns by whose values the metrics are measured too, for values with at least 200 rows."),
            FieldSchema("baseline", .text, "The registered model to compare with, such as `models:/delay@champion`."),
        ])

    private static let gate = KindSchema(
        "gate", "Conditions over the numbers of an evaluation. One that does not hold fails the run.",
        [
            FieldSchema("metrics", .any, required: true, "The outputs of an `evaluate`; numbers of a program need `model`."),
            FieldSchema("model", .any, "What the numbers measure, such as `$train.candidate`."),
            FieldSchema("require", .texts, required: true, "Conditions that must all hold: `auc >= baseline.auc - 0.01`."),
            FieldSchema("enforce", .flag, default: "true", "False records the verdict and lets the run go on."),
            FieldSchema(
                "firstModel", .word(["pass", "fail"]), default: "fail",
                "Whether conditions on the baseline hold while the model has never had one. One that is gone always fails."),
        ])

    private static let register = KindSchema(
        "register", "Registers a trained model as the next version of a name, with its evaluation and the verdict of its gate.",
        [
            FieldSchema("model", .any, required: true, "A model, such as `$train.model`."),
            FieldSchema("name", .text, required: true, "The registered model."),
            FieldSchema("alias", .text, "An alias that then stands at the new version."),
            FieldSchema("metrics", .any, "The outputs of an `evaluate`."),
            FieldSchema("gate", .any, "The outputs of a `gate`. Without one the version can only be released by force."),
        ])

    private static let release = KindSchema(
        "release", "Makes a release of a registered model and hands it to the endpoint's rollout.",
        [
            FieldSchema("model", .any, required: true, "The outputs of a `register`, or `models:/NAME/VERSION`."),
            FieldSchema("endpoint", .text, required: true, "The endpoint: `delay` in production, `delay@staging`."),
            FieldSchema("force", .flag, default: "false", "Whether to release a model that its gate refused, for those who may."),
            FieldSchema(
                "signature", .word(EndpointSpec.SignatureRule.allCases.map(\.rawValue)), default: "as the endpoint says",
                "Whether callers may notice that it answers, such as by an input more."),
        ])
}

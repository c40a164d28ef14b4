import Contracts

extension MonitorSpec {
    public static let schema = KindSchema(
        "Monitor", "A standing measurement of an endpoint over windows of event time, which raises alerts.", hasEnvironment: true,
        [
            FieldSchema("endpoint", .text, required: true, "The endpoint, in the environment of the monitor."),
            FieldSchema(
                "window", .span, required: true, "1s to 366d. Windows follow one another and start at whole multiples since 1970."),
            FieldSchema(
                "lateness", .span, default: "a hundredth of the window, at most 1h",
                "How far event time goes past a window's end before it closes, for rows out of order."),
            FieldSchema(
                "drift",
                .object([
                    FieldSchema("method", .word(Method.allCases.map(\.rawValue)), default: "psi", "How two distributions are compared."),
                    FieldSchema(
                        "threshold", .number, default: "0.2",
                        "A column drifts when its index is above this and above what chance alone gives. 0.1 is small, 0.2 large."),
                    FieldSchema(
                        "columns", .texts, default: "[features, score]", "`features` for all inputs, `score`, and names of single inputs."),
                    FieldSchema("minimumRows", .integer, default: "500", "A window of fewer rows raises no alert."),
                ]), "Compares inputs and scores with those that the model was trained on. Either this, `performance`, or both."),
            FieldSchema(
                "performance",
                .object([
                    FieldSchema(
                        "label",
                        .object([
                            FieldSchema(
                                "within", .span, required: true, "How long after a window's end its labels are waited for.")
                        ]), required: true, "The truth that arrives later."),
                    FieldSchema(
                        "metric", .word(Metric.allCases.map(\.rawValue)), default: "auc",
                        "Shown as the window's value. `accuracy` is also that of models that answer with classes, of labels of any type."),
                    FieldSchema(
                        "alertWhen", .expression,
                        "Over \(MonitorSpec.measurements.map { "`\($0)`" }.joined(separator: ", ")) and `reference.…`, what the release was evaluated with."
                    ),
                    FieldSchema("minimumLabels", .integer, default: "200", "A window of fewer labels raises no alert."),
                ]), """
                Measures predictions against labels. Unless `metric` is `accuracy` they must be 0 or 1 (or false and true): any other label of the endpoint \
                is refused.
                """),
        ])
}

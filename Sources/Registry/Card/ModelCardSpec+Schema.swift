import Contracts

extension ModelCardSpec {
    public static let schema = KindSchema(
        kind,
        "What only people can say of a model. It holds for every version of the model; what nobody stated is a visible gap in the card.",
        [
            FieldSchema("model", .text, default: "the card's own name", "The registered model."),
            FieldSchema("license", .text, "As Hugging Face writes it: `apache-2.0`."),
            FieldSchema("task", .text, "As Hugging Face writes it: `tabular-classification`."),
            FieldSchema("languages", .texts, "Languages of the data."),
            FieldSchema("contacts", .texts, "Who answers questions."),
            FieldSchema("slices", .texts, "Columns by which the model should be measured; the card says which it was not measured by."),
        ] + Statement.allCases.map { FieldSchema($0.rawValue, .text, "\($0.heading), which may be Markdown.") })
}

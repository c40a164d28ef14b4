/// What can be searched, by kind of thing. The names are those of the services' attributes.
extension SearchGrammar {
    private static let runSpellings = [
        "created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name", "Run Name": "run_name",
    ]

    public static let runs = SearchGrammar(
        .runs,
        attributes: [
            "run_id": .text, "run_name": .text, "user_id": .text, "status": .text, "artifact_uri": .text, "start_time": .number,
            "end_time": .number, "created": .number, "Created": .number, "run name": .text, "Run name": .text, "Run Name": .text,
        ],
        orderable: ["run_id", "run_name", "user_id", "status", "artifact_uri", "start_time", "end_time", "created", "Created"],
        listable: ["run_id"], aliases: runSpellings)

    public static let experiments = SearchGrammar(
        .experiments, attributes: ["name": .text, "experiment_id": .text, "creation_time": .number, "last_update_time": .number],
        orderable: ["name", "experiment_id", "creation_time", "last_update_time"], listable: ["experiment_id"])

    public static let evaluationDatasets = SearchGrammar(
        .experiments,
        attributes: ["name": .text, "created_time": .number, "last_update_time": .number, "created_by": .text, "last_updated_by": .text],
        orderable: ["name", "created_time", "last_update_time"], listable: ["name"])

    public static let models = SearchGrammar(
        .models, attributes: ["name": .text], orderable: ["name", "timestamp", "last_updated_timestamp"], listable: ["name"],
        aliases: ["timestamp": "last_updated_timestamp"])

    public static let versions = SearchGrammar(
        .versions, attributes: ["name": .text, "version_number": .number, "run_id": .text, "source_path": .text],
        orderable: ["name", "version_number", "creation_timestamp", "last_updated_timestamp"], listable: ["name", "run_id"])
}

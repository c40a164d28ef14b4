import Contracts

extension PipelineSpec {
    public static let schema = KindSchema(
        "Pipeline",
        """
        Steps that depend on one another, with parameters. `$trees` in a step's `with` is a parameter, `$now` the run's instant, `$train.model` an
        output of the step `train`, which the step then waits for.
        """,
        [
            FieldSchema(
                "parameters", .map(.any), "Parameters with their defaults; one without a default (null) must be given when a run starts."),
            FieldSchema("steps", .list(.object(stepFields)), required: true, "The steps, at least one."),
        ])

    private static let stepFields: [FieldSchema] = [
        FieldSchema("name", .text, required: true, "Letters, digits, '_' and '-', beginning with a letter."),
        FieldSchema("uses", .text, required: true, "The kind of step; see below."),
        FieldSchema("with", .map(.any), "What the kind of step takes."),
        FieldSchema("retries", .integer, default: "0", "Further attempts after a failure, at most 10."),
        FieldSchema("timeout", .span, default: "none", "How long one attempt may take."),
        FieldSchema("cache", .flag, default: "as the kind of step says", "Whether a result is reused when all inputs are the same."),
        FieldSchema("needs", .texts, "Steps that it waits for besides those it refers to."),
    ]
}

extension TriggerSpec {
    public static let schema = KindSchema(
        "Trigger", "What starts a pipeline by itself.",
        [
            FieldSchema(
                "when", .texts, required: true,
                "`monitor/NAME fires` (`NAME@staging` for one in staging), `dataset/NAME snapshot`, or `schedule MINUTE HOUR DAY MONTH WEEKDAY` in UTC."),
            FieldSchema("run", .text, required: true, "The pipeline."),
            FieldSchema("with", .map(.any), "Its parameters; the word `now` is the event time of what fired."),
            FieldSchema("cooldown", .span, default: "none", "No further start by an event within this length of event time."),
        ])
}

extension ShellStep {
    public static let schema = KindSchema(
        "shell", "A command, by `/bin/sh -eu` in the step's own folder. `$name` is the shell's own variable here.",
        [
            FieldSchema("run", .text, required: true, "The command."),
            FieldSchema("env", .map(.any), "Variables; their values may be references. Parameters come as `KEEL_PARAM_NAME` anyway."),
            FieldSchema("memoryMiB", .integer, default: "no limit", "The address space that each of its processes may take."),
            FieldSchema("cpu", .span, default: "no limit", "The CPU time that each of its processes may take."),
        ])
}

extension PythonStep {
    public static let schema = KindSchema(
        "python", "A Python program, by `python3` of the server's virtual environment or PATH.",
        [
            FieldSchema("script", .text, "A file, from the folder of the project. Either this or `code`."),
            FieldSchema("code", .text, "The program itself; it takes no references."),
            FieldSchema("args", .texts, "Arguments; they may be references."),
            FieldSchema("env", .map(.any), "Variables; their values may be references. Parameters come as `KEEL_PARAM_NAME` anyway."),
            FieldSchema("memoryMiB", .integer, default: "no limit", "The address space that each of its processes may take."),
            FieldSchema("cpu", .span, default: "no limit", "The CPU time that each of its processes may take."),
        ])
}

import ArgumentParser
import Contracts

/// The commands, from the argument parser's own description of them.
enum CommandReference {
    static var page: String {
        let tool = (try? JSON.parse(Keel._dumpHelp())) ?? .null
        let commands = commands(tool["command"] ?? .null, [])
        return """
            # Commands

            Every command that talks to a server takes `--url` (or `KEEL_URL`) and `--json`; the token comes from `KEEL_TOKEN` alone. It exits with 0 when
            it did what was asked, with 1 on an error, and with 64 when its arguments cannot be read.


            """ + commands.joined(separator: "\n")
    }

    /// A command and those below it; one that only groups others is left out.
    private static func commands(_ command: JSON, _ parents: [String]) -> [String] {
        let name = command["commandName"]?.string ?? ""
        guard name != "help", command["shouldDisplay"] != .bool(false) else { return [] }
        let path = parents + [name]
        let below = (command["subcommands"]?.array ?? []).flatMap { commands($0, path) }
        let isGroup = !below.isEmpty && (command["arguments"]?.array ?? []).allSatisfy(isShared)
        return (isGroup ? [] : [text(command, path)]) + below
    }

    private static func text(_ command: JSON, _ path: [String]) -> String {
        let arguments = (command["arguments"]?.array ?? []).filter { !isShared($0) }
        var out = "## \(path.joined(separator: " "))\n\n\(command["abstract"]?.string ?? "")\n\n"
        out += "```\n\((path + arguments.map(usage)).joined(separator: " "))\n```\n"
        if let discussion = command["discussion"]?.string, !discussion.isEmpty { out += "\n```\n\(discussion)\n```\n" }
        guard !arguments.isEmpty else { return out }
        let rows = arguments.map { argument in
            let standard = argument["defaultValue"]?.string.map { " Default: `\($0)`." } ?? ""
            return "| `\(label(argument))` | \(ReferencePages.cell(argument["abstract"]?.string ?? ""))\(standard) |"
        }
        return out + "\n| | |\n|---|---|\n\(rows.joined(separator: "\n"))\n"
    }

    /// Options that every command has.
    private static func isShared(_ argument: JSON) -> Bool {
        ["url", "json", "help", "version"].contains(argument["valueName"]?.string ?? "")
            || (argument["names"]?.array ?? []).contains { ["url", "json", "help", "version"].contains($0["name"]?.string ?? "") }
    }

    private static func label(_ argument: JSON) -> String {
        let value = (argument["valueName"]?.string ?? "").uppercased()
        guard let name = argument["preferredName"]?["name"]?.string else { return value }
        return "--\(name)" + (argument["kind"]?.string == "option" ? " \(value)" : "")
    }

    private static func usage(_ argument: JSON) -> String {
        let text = label(argument) + (argument["isRepeating"]?.bool == true ? " …" : "")
        return argument["isOptional"]?.bool == true ? "[\(text)]" : text
    }
}

import ArgumentParser
import Contracts
import Engines

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the version of this command.",
        discussion: "It is the version of the server too that 'keel serve' starts. Example: keel version --json")
    @Flag(name: .long, help: "Print JSON, with the platform and where an installed Keel lies.") var json = false

    func run() {
        guard json else { return Terminal.print("keel \(KeelVersion.text)") }
        Terminal.print(json: [
            "name": "keel", "version": .string(KeelVersion.text), "platform": "linux-x86_64",
            "installation": Installation.process.map { .string($0.folder) } ?? .null,
        ])
    }
}

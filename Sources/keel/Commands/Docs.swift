import ArgumentParser
import Contracts
import Foundation

struct Docs: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read the documentation of this version, or search it.",
        discussion: """
            Without words the pages are listed. The name of a page prints it; other words print the lines that hold all of them.
            Examples:
              keel docs
              keel docs serving | less
              keel docs canary shares
              keel docs --output docs/reference            write the reference that is made from the code, in Markdown
            """)
    @Argument(help: "A page, or words to search for.") var words: [String] = []
    @Option(help: "Write the reference to this folder instead.") var output: String?

    func run() throws {
        if let output { return try write(to: output) }
        let pages = DocumentationPages.all
        guard !words.isEmpty else {
            return Terminal.table(["page", "about"], pages.map { [$0.name, $0.title] })
        }
        if words.count == 1, let page = pages.first(where: { $0.name == words[0] }) { return Terminal.print(lines: page.text) }
        let found = pages.flatMap { $0.lines(with: words) }
        guard !found.isEmpty else {
            throw KeelError.notFound("no line of the documentation holds '\(words.joined(separator: "' and '"))'", hint: "keel docs lists the pages")
        }
        for line in found { Terminal.print(line) }
    }

    private func write(to folder: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            for page in ReferencePages.all {
                try page.text.write(toFile: "\(folder)/\(page.name)", atomically: true, encoding: .utf8)
                Terminal.print("\(folder)/\(page.name)")
            }
        } catch { throw KeelError(.unavailable, "cannot write to '\(folder)': \(error.localizedDescription)") }
    }
}

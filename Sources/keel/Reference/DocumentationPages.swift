import Foundation

/// The pages that `keel docs` shows: the reference, which is made from the code, and the guides of the installation or of a checkout.
enum DocumentationPages {
    struct Page {
        /// Without folder and ending: `serving`.
        let name: String
        let text: String

        /// The first heading.
        var title: String {
            text.split(separator: "\n").first { $0.hasPrefix("# ") }.map { String($0.dropFirst(2)) } ?? name
        }

        /// `page:line: text` of every line that holds all the words, in any case.
        func lines(with words: [String]) -> [String] {
            let words = words.map { $0.lowercased() }
            return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
                let lower = line.lowercased()
                return words.allSatisfy { lower.contains($0) } ? "\(name):\(number + 1): \(line)" : nil
            }
        }
    }

    static var all: [Page] {
        let reference = ReferencePages.all.map { Page(name: name(of: $0.name), text: $0.text) }
        guard let folder = PackagedFiles.find(installed: "share/docs", checkout: "docs") else { return reference }
        let files = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasSuffix(".md") }.sorted()
        let guides = files.compactMap { file in
            (try? String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)).map { Page(name: name(of: file), text: $0) }
        }
        return guides + reference
    }

    private static func name(of file: String) -> String { String(file.dropLast(".md".count)) }
}

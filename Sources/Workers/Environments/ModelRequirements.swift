import Contracts
import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// What the folder of a model says about its environment: `requirements.txt`, `python_env.yaml` and `conda.yaml`, as MLflow writes them.
public struct ModelRequirements: Sendable, Hashable {
    /// `3.11.7` or `3.11`; nil when it is not said.
    public let python: String?
    public let packages: Requirements

    /// - Parameter folder: of the model; only plain files in it are read.
    /// - Throws: `invalidArgument` for a file that says something else than packages, or names conda packages that pip does not install; `notFound` when
    ///   there is none of the three.
    public init(folder: String) throws(KeelError) {
        let requirements = try ModelRequirements.text("requirements.txt", in: folder)
        let environment = try ModelRequirements.list("python_env.yaml", in: folder)
        let conda = try ModelRequirements.list("conda.yaml", in: folder)
        guard requirements != nil || environment != nil || conda != nil else {
            throw .notFound(
                "the model does not say which packages it needs: it has no requirements.txt, python_env.yaml or conda.yaml",
                hint: "MLflow writes them when a model is logged")
        }
        let fromConda = try conda.map { items throws(KeelError) in try CondaDependencies(items) }
        if let requirements {
            packages = try Requirements(parsing: requirements)
        } else if let environment {
            packages = try Requirements(
                parsing: environment.items("dependencies").joined(separator: "\n"), name: "python_env.yaml: dependencies")
        } else {
            packages = try Requirements(parsing: (fromConda?.pip ?? []).joined(separator: "\n"), name: "conda.yaml: pip")
        }
        let names = packages.names
        let missing = (fromConda?.others ?? []).filter { !names.contains(Requirements.normalised($0)) }
        guard missing.isEmpty else {
            throw .invalid(
                "these packages come from conda, which is not used here: \(missing.joined(separator: ", "))",
                hint: "list them in requirements.txt, if PyPI has them", path: "conda.yaml")
        }
        python = environment?.values["python"] ?? fromConda?.python
        if let python, !python.utf8.allSatisfy({ ($0 >= 48 && $0 <= 57) || $0 == UInt8(ascii: ".") }) {
            throw .invalid("'\(python.prefix(40).visible())' is no version of Python", hint: "as in 3.11.7")
        }
    }

    private static func text(_ name: String, in folder: String) throws(KeelError) -> String? {
        let file = open("\(folder)/\(name)", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        if file < 0, errno == ENOENT { return nil }
        var status = stat()
        guard file >= 0, fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= Requirements.textBytesMax else {
            if file >= 0 { close(file) }
            throw .invalid("it must be a plain file of at most \(Requirements.textBytesMax) bytes", path: name)
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        let bytes = (try? handle.read(upToCount: Requirements.textBytesMax)) ?? Data()
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalid("it is not UTF-8", path: name) }
        return text
    }

    private static func list(_ name: String, in folder: String) throws(KeelError) -> NestedList? {
        guard let text = try text(name, in: folder) else { return nil }
        do throws(KeelError) { return try NestedList(parsing: text) } catch { throw error.at(name) }
    }

    /// The dependencies of `conda.yaml`: `python=3.11.7`, names of conda packages, and a list of pip's own.
    private struct CondaDependencies {
        var python: String?
        var pip: [String]
        var others: [String] = []

        init(_ list: NestedList) throws(KeelError) {
            pip = list.items("dependencies", "pip")
            for item in list.items("dependencies") {
                let name = String(item.prefix { $0.isLetter || $0.isNumber || "._-".contains($0) })
                let version = item.dropFirst(name.count).drop { $0 == "=" || $0 == " " }
                switch name {
                case "python": python = version.isEmpty ? nil : String(version)
                // The tool that installs the rest is Keel's.
                case "pip", "setuptools", "wheel": break
                default: others.append(name.isEmpty ? String(item.prefix(80)) : name)
                }
            }
        }
    }
}

/// The little of YAML that MLflow writes into the files of environments: keys with a text or a list of texts, and in such a list one key with a list again.
package struct NestedList: Sendable, Hashable {
    private(set) var values: [String: String] = [:]
    /// By their keys, joined with a zero byte.
    private var lists: [String: [String]] = [:]

    func items(_ keys: String...) -> [String] { lists[keys.joined(separator: "\0")] ?? [] }

    /// - Throws: `invalidArgument` with the number of a line that is something else.
    package init(parsing text: String) throws(KeelError) {
        var outer: String?
        var inner: (key: String, indent: Int)?
        for (i, line) in text.replacing("\r\n", with: "\n").split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let content = line.drop { $0 == " " }
            let depth = line.count - content.count
            if content.isEmpty || content.hasPrefix("#") || content == "---" { continue }
            let failure = KeelError.invalid(
                "this line is not understood", hint: "MLflow writes plain keys and lists here", path: "line \(i + 1)")
            guard content.hasPrefix("- ") else {
                guard depth == 0, let (key, value) = NestedList.pair(content) else { throw failure }
                outer = value.isEmpty ? key : nil
                inner = nil
                if !value.isEmpty { values[key] = value }
                continue
            }
            guard let key = outer else { throw failure }
            let item = content.dropFirst(2).drop { $0 == " " }
            if let nested = inner, depth > nested.indent {
                lists["\(key)\0\(nested.key)", default: []].append(NestedList.scalar(item))
                continue
            }
            inner = nil
            if item.hasSuffix(":"), let (name, value) = NestedList.pair(item), value.isEmpty {
                inner = (name, depth)
            } else {
                lists[key, default: []].append(NestedList.scalar(item))
            }
        }
    }

    private static func pair(_ text: Substring) -> (key: String, value: String)? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let key = text[..<colon]
        let value = text[text.index(after: colon)...]
        guard !key.isEmpty, key.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }), value.isEmpty || value.hasPrefix(" ")
        else {
            return nil
        }
        return (String(key), scalar(value.drop { $0 == " " }))
    }

    /// A text with or without quotes; what follows ` #` is a comment.
    private static func scalar(_ text: Substring) -> String {
        if let quote = text.first, quote == "'" || quote == "\"", let end = text.dropFirst().firstIndex(of: quote) {
            return String(text.dropFirst()[..<end])
        }
        let end = text.range(of: " #")?.lowerBound ?? text.endIndex
        return String(text[..<end]).trimmingCharacters(in: .whitespaces)
    }
}

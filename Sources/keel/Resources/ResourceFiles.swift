import Contracts
import Foundation
import Yams

/// Resources of YAML files: a folder (`*.yaml`, `*.yml`, in order of their names) or one file; and where each of their fields stands.
package struct ResourceFiles {
    private struct Document {
        let file: String
        let node: Node
    }

    private(set) var resources: [Resource] = []
    /// By `Kind/name`.
    private var documents: [String: Document] = [:]

    /// - Throws: everything that is wrong in any of the files, each error with its file and line.
    package init(_ path: String) throws(KeelError) {
        var errors: [KeelError] = []
        for file in try ResourceFiles.files(path) {
            let (nodes, mistake) = ResourceFiles.nodes(of: file)
            for node in nodes where node.mapping?.isEmpty == false || node.mapping == nil {
                do throws(KeelError) { try add(Document(file: file, node: node)) } catch { errors.append(error) }
            }
            if let mistake { errors.append(mistake) }
        }
        if let error = KeelError.joined(errors) { throw error }
        guard !resources.isEmpty else {
            throw .notFound("there are no resources in '\(path)'", hint: "resources are YAML files with apiVersion: \(Resource.apiVersion)")
        }
    }

    private static func files(_ path: String) throws(KeelError) -> [String] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw .notFound("there is no file or folder '\(path)'")
        }
        guard isFolder.boolValue else { return [path] }
        return ((FileManager.default.enumerator(atPath: path)?.allObjects as? [String]) ?? [])
            .filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") }.sorted().map { path + "/" + $0 }
    }

    /// The documents of a file up to a mistake in its YAML, and the mistake.
    private static func nodes(of file: String) -> ([Node], KeelError?) {
        guard let data = FileManager.default.contents(atPath: file), let text = String(data: data, encoding: .utf8) else {
            return ([], .invalid("is not readable as UTF-8 text", path: file))
        }
        var nodes: [Node] = []
        do {
            var documents = try Yams.compose_all(yaml: text)
            while let node = documents.next() { nodes.append(node) }
            // The sequence ends at a mistake and keeps it to itself.
            if let error = documents.error { throw error }
        } catch YamlError.scanner(_, let problem, let mark, _), YamlError.parser(_, let problem, let mark, _),
            YamlError.composer(_, let problem, let mark, _)
        {
            return (nodes, .invalid("is not valid YAML: \(problem)", path: "\(file):\(mark.line)"))
        } catch YamlError.duplicatedKeysInMapping(let names, let context) {
            return (nodes, .invalid("key '\(names.first ?? "")' twice", path: "\(file):\(context.mark.line)"))
        } catch { return (nodes, .invalid("is not valid YAML: \(error)", path: file)) }
        return (nodes, nil)
    }

    private mutating func add(_ document: Document) throws(KeelError) {
        var budget = YAML.nodesMax
        let json = try YAML.json(document.node, file: document.file, budget: &budget)
        do throws(KeelError) {
            let resource = try Resource(json: json)
            resources.append(resource)
            documents[resource.id] = document
        } catch {
            throw ResourceFiles.at(document.file, ResourceFiles.line(of: error.path ?? "", in: document.node), error)
        }
    }

    /// The error and those beside it with the file and the line of what each is about, in the order of files and lines; those that are about
    /// nothing in these files come last.
    package func placed(_ error: KeelError) -> KeelError {
        var found: [(file: String, line: Int, error: KeelError)] = []
        var elsewhere: [KeelError] = []
        for error in error.all {
            let path = error.path ?? ""
            // Names may hold dots: the longest that fits is meant.
            let id = documents.keys.filter { path == $0 || path.hasPrefix($0 + ".") }.max { $0.count < $1.count }
            guard let id, let document = documents[id] else {
                elsewhere.append(error)
                continue
            }
            let line = ResourceFiles.line(of: String(path.dropFirst(id.count + 1)), in: document.node)
            found.append((document.file, line, ResourceFiles.at(document.file, line, error)))
        }
        found.sort { ($0.file, $0.line) < ($1.file, $1.line) }
        return KeelError.joined(found.map(\.error) + elsewhere) ?? error
    }

    private static func at(_ file: String, _ line: Int, _ error: KeelError) -> KeelError {
        KeelError(error.code, error.message, hint: error.hint, path: "\(file):\(line)" + (error.path.map { ": \($0)" } ?? ""))
    }

    /// The line of `spec.columns[2].range`, or of the nearest part of that path that is there.
    private static func line(of field: String, in node: Node) -> Int {
        var line = node.mark?.line ?? 1
        var node = node
        var rest = Substring(field)
        while !rest.isEmpty {
            if rest.hasPrefix("["), let end = rest.firstIndex(of: "]"), let sequence = node.sequence {
                guard let i = Int(rest[rest.index(after: rest.startIndex)..<end]), sequence.indices.contains(i) else { break }
                node = sequence[i]
                line = node.mark?.line ?? line
                rest = rest[rest.index(after: end)...]
            } else {
                // Keys may hold dots too.
                let keys = node.mapping?.filter { key, _ in
                    guard let name = key.scalar?.string, rest.hasPrefix(name) else { return false }
                    return rest.dropFirst(name.count).first.map { $0 == "." || $0 == "[" } ?? true
                }
                guard let (key, value) = keys?.max(by: { ($0.key.scalar?.string.count ?? 0) < ($1.key.scalar?.string.count ?? 0) }) else {
                    break
                }
                line = key.mark?.line ?? line
                node = value
                rest = rest.dropFirst(key.scalar?.string.count ?? 0)
            }
            if rest.first == "." { rest = rest.dropFirst() }
        }
        return line
    }
}

/// YAML as JSON: the core schema, but `yes`, `no`, `on` and `off` stay texts, and dates stay texts.
package enum YAML {
    /// A document has at most so many values once its aliases are written out: a few hundred bytes of aliases to aliases mean billions of them.
    package static let nodesMax = 1_000_000

    package static func json(_ node: Node, file: String) throws(KeelError) -> JSON {
        var budget = nodesMax
        return try json(node, file: file, budget: &budget)
    }

    /// - Parameters:
    ///   - file: what errors say before the line.
    ///   - budget: how many values the document may still have.
    package static func json(_ node: Node, file: String, depth: Int = 0, budget: inout Int) throws(KeelError) -> JSON {
        let place = "\(file):\(node.mark?.line ?? 1)"
        guard depth < 64 else { throw .invalid("more than 64 levels of nesting", path: place) }
        budget -= 1
        guard budget >= 0 else {
            throw .invalid("more than \(nodesMax) values when its aliases are written out", hint: "write fewer aliases", path: place)
        }
        switch node {
        case .scalar(let scalar): return value(scalar)
        case .sequence(let sequence):
            var items: [JSON] = []
            for item in sequence { items.append(try json(item, file: file, depth: depth + 1, budget: &budget)) }
            return .array(items)
        case .mapping(let mapping):
            var members: [JSON.Member] = []
            for (key, value) in mapping {
                let place = "\(file):\(key.mark?.line ?? 1)"
                guard let name = key.scalar?.string else { throw .invalid("a key must be a text", path: place) }
                guard !members.contains(where: { $0.key == name }) else {
                    throw .invalid("the field '\(name)' is there twice", path: place)
                }
                members.append(JSON.Member(name, try json(value, file: file, depth: depth + 1, budget: &budget)))
            }
            return .object(members)
        case .alias: throw .invalid("aliases are not supported", hint: "write the value out", path: place)
        }
    }

    private static func value(_ scalar: Node.Scalar) -> JSON {
        guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
        switch scalar.string {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        let bytes = scalar.string.utf8
        // Only what JSON calls a number is one: `9E`, `1_000` and `0x10` are texts.
        if let first = bytes.first, first == UInt8(ascii: "-") || (first >= 48 && first <= 57), let number = try? JSON.parse(scalar.string)
        {
            return number
        }
        return .string(scalar.string)
    }
}

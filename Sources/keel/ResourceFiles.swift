import Contracts
import Foundation
import Yams

/// Reads resources from YAML files: a folder (`*.yaml`, `*.yml`, in order of their names) or one file; errors name file, line and field.
enum ResourceFiles {
    static func read(_ path: String) throws(KeelError) -> [Resource] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw .notFound("there is no file or folder '\(path)'")
        }
        guard isFolder.boolValue else { return try documents(in: path) }
        let names = ((FileManager.default.enumerator(atPath: path)?.allObjects as? [String]) ?? [])
            .filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") }.sorted()
        var out: [Resource] = []
        for name in names {
            let file = path + "/" + name
            // A project may hold other YAML (settings of tools); a resource says so in its first field.
            out += try documents(in: file)
        }
        guard !out.isEmpty else {
            throw .notFound("there are no resources in '\(path)'", hint: "resources are YAML files with apiVersion: \(Resource.apiVersion)")
        }
        return out
    }

    private static func documents(in file: String) throws(KeelError) -> [Resource] {
        guard let data = FileManager.default.contents(atPath: file), let text = String(data: data, encoding: .utf8) else {
            throw .invalid("is not readable as UTF-8 text", path: file)
        }
        var nodes: [Node] = []
        do {
            var documents = try Yams.compose_all(yaml: text)
            while let node = documents.next() { nodes.append(node) }
            // The sequence ends at a mistake and keeps it to itself.
            if let error = documents.error { throw error }
        } catch { throw .invalid("is not valid YAML: \(error)", path: file) }
        var out: [Resource] = []
        for node in nodes where node.mapping?.isEmpty == false || node.mapping == nil {
            let place = "\(file):\(node.mark?.line ?? 1)"
            do throws(KeelError) { out.append(try Resource(json: try YAML.json(node))) } catch { throw error.at(place + ":") }
        }
        return out
    }
}

/// YAML as JSON: the core schema, but `yes`, `no`, `on` and `off` stay texts, and dates stay texts.
enum YAML {
    static func json(_ node: Node, depth: Int = 0) throws(KeelError) -> JSON {
        guard depth < 64 else { throw .invalid("more than 64 levels of nesting") }
        switch node {
        case .scalar(let scalar): return value(scalar)
        case .sequence(let sequence):
            var items: [JSON] = []
            for item in sequence { items.append(try json(item, depth: depth + 1)) }
            return .array(items)
        case .mapping(let mapping):
            var members: [JSON.Member] = []
            for (key, value) in mapping {
                guard let name = key.scalar?.string else { throw .invalid("a key must be a text", path: "line \(key.mark?.line ?? 0)") }
                guard !members.contains(where: { $0.key == name }) else {
                    throw .invalid("the field '\(name)' is there twice", path: "line \(key.mark?.line ?? 0)")
                }
                members.append(JSON.Member(name, try json(value, depth: depth + 1)))
            }
            return .object(members)
        case .alias: throw .invalid("aliases are not supported", hint: "write the value out")
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

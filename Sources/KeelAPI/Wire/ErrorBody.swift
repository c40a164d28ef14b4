import Contracts

/// How an error looks in Keel's own API: `{"error": {"code", "message", "hint"?, "path"?, "also"?}}`, where `also` lists further errors.
public enum ErrorBody {
    public static func json(_ error: KeelError) -> JSON {
        var body = fields(error)
        if !error.also.isEmpty { body["also"] = .array(error.also.map(fields)) }
        return ["error": body]
    }

    private static func fields(_ error: KeelError) -> JSON {
        var body: JSON = ["code": .string(error.code.rawValue), "message": .string(error.message)]
        if let hint = error.hint { body["hint"] = .string(hint) }
        if let path = error.path { body["path"] = .string(path) }
        return body
    }
}

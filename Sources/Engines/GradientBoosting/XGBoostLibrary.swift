import CGradientBoosting
import Contracts

/// The loaded XGBoost library: its entry points, which stay for the life of the process.
///
/// `@unchecked Sendable`: immutable after `init`; XGBoost's entry points may be called from any thread, each handle by one at a time.
struct XGBoostLibrary: @unchecked Sendable {
    let api: keel_xgboost_api
    let path: String
    let version: String

    /// Loaded at first use; a failure is kept.
    static let shared: Result<XGBoostLibrary, KeelError> = {
        do throws(KeelError) { return .success(try XGBoostLibrary(locator: .process)) } catch { return .failure(error) }
    }()

    init(locator: EngineLocator) throws(KeelError) {
        var api = keel_xgboost_api()
        path = try locator.load(.xgboost) { candidate in keel_xgboost_load(candidate, &api).map { String(cString: $0) } }
        self.api = api
        var (major, minor, patch): (Int32, Int32, Int32) = (0, 0, 0)
        api.version(&major, &minor, &patch)
        version = "\(major).\(minor).\(patch)"
    }
}
